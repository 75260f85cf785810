import { toHex } from '#core/bytes.js';
import type { KeyInfo } from '#gen/cvmp/v1/key_admin_pb.js';
import { type CommandContext, command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import {
  isKeyId,
  orderOf,
  orderOptions,
  orderText,
  readOrder,
  signOrder,
} from '../keys/destruction.js';
import { ask, fetchKey } from '../keys/key-change.js';
import { keyFields, keyOutput } from '../keys/key-text.js';
import { callerKey } from '../profile/speaker.js';
import { confirm } from '../terminal/confirm.js';
import { readTypedBytes } from '../terminal/typed.js';

export const keyDestroy = command({
  name: 'key destroy',
  summary: 'Orders the destruction of a key; due after the delay of its policy.',
  examples: [
    'cvmp key destroy 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70 --reason "web is gone"',
    'cvmp key destroy order.signed',
  ],
  positionals: ['KEY'],
  options: { ...orderOptions, yes: { type: 'boolean', summary: 'Do not ask.' } },
  notes:
    'From the order on nothing of the key is released. Until it is due, cvmp key cancel-destroy\n' +
    'takes it back; then its root keys are destroyed, and what only they open is lost. Where the\n' +
    'policy asks for several signers, KEY is the file that cvmp key order makes.',
  async run({ positionals: [typed], options }, context) {
    const signedOrder = isKeyId(typed!)
      ? await newOrder(await fetchKey(context, typed!))
      : await orderFrom(typed!);
    const { key } = await (await context.servers()).keys().destroyKey({ signedOrder });
    return keyOutput(key, destroyedText);

    async function newOrder(key: KeyInfo): Promise<Uint8Array> {
      const question = 'Destroy it? What only this key opens is lost then.';
      if (!options.yes) await ask(context, key, question);
      const { key: own, issuer } = await callerKey(await context.profile(), 'tenant');
      return signOrder(own, orderOf(issuer, key, options));
    }

    async function orderFrom(file: string): Promise<Uint8Array> {
      const signed = await readTypedBytes(context, file);
      const { order, signers } = readOrder(signed, file);
      if (!options.yes) await askOrder(context, orderText(order, signers));
      return signed;
    }
  },
});

async function askOrder(context: CommandContext, text: string): Promise<void> {
  if (context.terminal.interactive) context.terminal.err(`${text}\n\n`);
  await confirm(context.terminal, 'Send it? What only this key opens is lost then.');
}

function destroyedText(key: KeyInfo): string {
  const id = toHex(key.keyId);
  const next =
    `Until ${timeText(key.destroyDue)}: cvmp key cancel-destroy ${id} takes it back.\n` +
    `After it: cvmp key receipt ${id} --out ${id.slice(0, 8)}.receipt proves it.`;
  return `${keyFields(key)}\n\n${next}`;
}
