import { toHex } from '#core/bytes.js';
import { forgetKept, readKept } from '../audit/kept.js';
import { keyServerOf } from '../audit/key-server.js';
import { command } from '../command.js';
import { confirm } from '../terminal/confirm.js';

export const auditForget = command({
  name: 'audit forget',
  summary: 'Forgets what the Key Server said of its log, after a loss that you accept.',
  examples: ['cvmp audit forget', 'cvmp audit forget --yes'],
  options: { yes: { type: 'boolean', summary: 'Do not ask.' } },
  notes:
    'A Key Server whose store was set back no longer continues the checkpoint that you keep, and every\n' +
    'command refuses it. Ask its operator what was lost, and keep your last export: records of it that\n' +
    'the server no longer has are proof of the loss. The lost checkpoint is left beside the profile.',
  async run({ options }, context) {
    const { profile, keyServer } = await keyServerOf(context);
    const kept = readKept(profile.file, keyServer.identityKey);
    if (kept === undefined) {
      return { json: { forgotten: null }, text: 'nothing is kept of this Key Server' };
    }
    const what = `a log of ${kept.size} records, signed ${new Date(kept.time).toISOString()}`;
    if (!options.yes) await confirm(context.terminal, `Forget ${what}?`);
    const file = forgetKept(profile.file, kept);
    return {
      json: { forgotten: { size: kept.size, root: toHex(kept.root) }, file },
      text: `forgotten: ${what}; left in ${file}`,
    };
  },
});
