import { toHex } from '#core/bytes.js';
import { type KeyInfo, KeyInfoSchema, KeyStateSchema } from '#gen/cvmp/v1/key_admin_pb.js';
import { KeyPurposeSchema } from '#gen/cvmp/v1/key_pb.js';
import { command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import { fields } from '../terminal/output.js';
import { enumName, toReadable } from '../terminal/readable.js';
import { hexBytes } from '../terminal/typed.js';

function keyFields(key: KeyInfo): string {
  return fields([
    ['KeyID', toHex(key.keyId)],
    ['state', enumName(KeyStateSchema, key.state)],
    ['SVN floor', String(key.svnFloor)],
    ['retired below', String(key.svnRetired)],
    ['epoch', String(key.epoch)],
    ['purpose', `${enumName(KeyPurposeSchema, key.purpose)}, ${key.length} bytes`],
    ['policy', key.policyId],
    ['allocated', `${timeText(key.created)} by ${key.cvmName}`],
    ['last released', timeText(key.released)],
  ]);
}

export const keyShow = command({
  name: 'key show',
  summary: 'The record of one key.',
  examples: ['cvmp key show 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  positionals: ['KEYID'],
  options: {},
  async run({ positionals: [keyId] }, context) {
    const id = hexBytes(keyId!, 'KEYID', 16);
    const { keys } = await context.servers();
    const { key } = await keys().getKey({ keyId: id });
    return {
      json: { key: key === undefined ? null : toReadable(KeyInfoSchema, key) },
      text: key === undefined ? '' : keyFields(key),
    };
  },
});
