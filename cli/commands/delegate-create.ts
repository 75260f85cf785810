import { writeFile } from 'node:fs/promises';
import { toHex } from '#core/bytes.js';
import { delegationSecondsMax, signDelegation } from '#core/cose/delegation.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { command } from '../command.js';
import { parsePublicKey } from '../profile/profile.js';
import { callerKey } from '../profile/speaker.js';
import { fields } from '../terminal/output.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { readTypedText, wholeNumber, wordList } from '../terminal/typed.js';

const daysMax = Math.floor(delegationSecondsMax / 86_400);

export const delegateCreate = command({
  name: 'delegate create',
  summary: 'Lets the holder of another key do some things for the tenant, for a time.',
  examples: ['cvmp delegate create ci --key ci.pub --scope policy-author --out ci.delegation'],
  positionals: ['NAME'],
  options: {
    ...serverOption,
    key: { type: 'string', value: 'FILE', summary: 'Public key, as cvmp signer init writes it.' },
    scope: {
      type: 'string',
      value: 'WORDS',
      summary: 'Roles and verbs (docs/access.md), by commas.',
    },
    days: {
      type: 'string',
      value: 'N',
      summary: `How long it lives, in days; 30 unless told, at most ${daysMax}.`,
    },
    out: { type: 'string', value: 'FILE', summary: 'Where to write it; it is no secret.' },
  },
  notes:
    'Needs no server. NAME is for the log and the audit. The delegate mints tokens with\n' +
    'cvmp token --delegation FILE --key KEY, or names both in a profile (delegation, delegate_key);\n' +
    'policies and orders to destroy are still signed by who the policies say.',
  async run({ positionals: [name], options }, context) {
    const missing = (['key', 'scope', 'out'] as const).find((key) => options[key] === undefined);
    if (missing !== undefined) throw new CvmpError('USAGE', `--${missing} is missing`);
    const profile = await context.profile();
    const { key, issuer } = await callerKey(profile, 'tenant');
    const aud = serverChoice(options.server, profile).map((server) =>
      server === 'platform' ? profile.platform!.name : profile.keyServer!.name,
    );
    const days = wholeNumber(options.days, 'days', { min: 1, max: daysMax, otherwise: 30 });
    const iat = Math.floor(context.now() / 1000);
    const id = crypto.randomBytes(16);
    const scope = wordList(options.scope) ?? [];
    const signed = await signDelegation(key, {
      iss: issuer,
      sub: name!,
      aud,
      iat,
      exp: iat + days * 86_400,
      id,
      scope,
      key: parsePublicKey(await readTypedText(context, options.key!), options.key!),
    });
    await writeFile(context.path(options.out!), signed);
    const expires = new Date((iat + days * 86_400) * 1000).toISOString();
    return {
      json: { id: toHex(id), delegate: name, servers: aud, scope, expires, file: options.out },
      text: fields([
        ['delegate', name!],
        ['id', toHex(id)],
        ['servers', aud.join(', ')],
        ['scope', scope.join(', ')],
        ['expires', expires],
        ['file', options.out!],
      ]),
    };
  },
});
