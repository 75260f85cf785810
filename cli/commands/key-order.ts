import { writeFile } from 'node:fs/promises';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import {
  isKeyId,
  orderOf,
  orderOptions,
  orderText,
  readOrder,
  signOrderAlso,
  startOrder,
} from '../keys/destruction.js';
import { fetchKey } from '../keys/key-change.js';
import { readKeyFile } from '../profile/key-file.js';
import { callerKey } from '../profile/speaker.js';
import { confirm } from '../terminal/confirm.js';
import { readTypedBytes } from '../terminal/typed.js';

export const keyOrder = command({
  name: 'key order',
  summary: 'Signs an order to destroy a key that several people must sign.',
  examples: [
    'cvmp key order 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70 --out order.signed',
    'cvmp key order order.signed --key bob-key.pem',
    'cvmp key destroy order.signed',
  ],
  positionals: ['KEY'],
  options: {
    ...orderOptions,
    key: { type: 'string', value: 'FILE', summary: "Private key; else the profile's tenant key." },
    out: {
      type: 'string',
      value: 'FILE',
      summary: 'Where to; FILE itself if it is signed already.',
    },
    yes: { type: 'boolean', summary: 'Do not ask.' },
  },
  notes:
    'KEY is a KeyID, or the file of a signed order. The first signer names the key, each next one the file that the one before wrote; those need\n' +
    'no server. An order holds for the key as it is: once it is taken back, or the key was\n' +
    'suspended, resumed or rotated in between, a new one is needed.',
  async run({ positionals: [typed], options }, context) {
    const key = async () =>
      options.key === undefined
        ? (await callerKey(await context.profile(), 'tenant')).key
        : readKeyFile(context.path(options.key));
    const out = options.out ?? (isKeyId(typed!) ? undefined : typed!);
    if (out === undefined) throw new CvmpError('USAGE', '--out is missing', { field: 'out' });
    const signed = isKeyId(typed!) ? await startOrder(await key(), await newOrder()) : await also();
    await writeFile(context.path(out), signed);
    const { order, signers } = readOrder(signed, out);
    const names = signers.map((kid) => toHex(kid));
    return {
      json: { key_id: toHex(order.keyId), file: out, signers: names },
      text: `${orderText(order, signers)}\n\nwritten to ${out}`,
    };

    async function newOrder() {
      const { issuer } = await callerKey(await context.profile(), 'tenant');
      const found = await fetchKey(context, typed!);
      return orderOf(issuer, found, options);
    }

    async function also(): Promise<Uint8Array> {
      const before = await readTypedBytes(context, typed!);
      const { order, signers } = readOrder(before, typed!);
      if (!options.yes) {
        if (context.terminal.interactive) {
          context.terminal.err(`${orderText(order, signers)}\n\n`);
        }
        await confirm(context.terminal, 'Sign it too?');
      }
      return signOrderAlso(await key(), before);
    }
  },
});
