import { writeFile } from 'node:fs/promises';
import { CvmpError } from '#core/errors.js';
import { DestructionReceiptSchema } from '#gen/cvmp/v1/key_admin_pb.js';
import { command } from '../command.js';
import { openReceipt, receiptText } from '../keys/receipt.js';
import { toReadable } from '../terminal/readable.js';
import { hexBytes } from '../terminal/typed.js';

export const keyReceipt = command({
  name: 'key receipt',
  summary: 'A receipt for destroyed keys, signed by the Key Server.',
  examples: [
    'cvmp key receipt 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70 --out web.receipt',
    'cvmp key receipt verify web.receipt',
  ],
  positionals: ['KEYID...'],
  options: { out: { type: 'string', value: 'FILE', summary: 'Where to; only shown unless told.' } },
  async run({ positionals, options }, context) {
    const { keyServer } = await context.profile();
    if (keyServer === undefined) throw new CvmpError('CONFIG', 'no key_server');
    const keyIds = positionals.map((typed) => hexBytes(typed, 'KEYID', 16));
    const { signedReceipt } = await (await context.servers()).keys().getReceipt({ keyIds });
    const receipt = await openReceipt(signedReceipt, keyServer.identityKey);
    if (options.out !== undefined) await writeFile(context.path(options.out), signedReceipt);
    const written = options.out === undefined ? '' : `\n\nwritten to ${options.out}`;
    return {
      json: { receipt: toReadable(DestructionReceiptSchema, receipt) },
      text: `${receiptText(receipt)}${written}`,
    };
  },
});
