import { CvmpError } from '#core/errors.js';
import { DestructionReceiptSchema } from '#gen/cvmp/v1/key_admin_pb.js';
import { command } from '../command.js';
import { openReceipt, receiptText } from '../keys/receipt.js';
import { toReadable } from '../terminal/readable.js';
import { readTypedBytes } from '../terminal/typed.js';

export const keyReceiptVerify = command({
  name: 'key receipt verify',
  summary: 'Checks a receipt for destroyed keys; asks no server.',
  examples: ['cvmp key receipt verify web.receipt'],
  positionals: ['FILE'],
  options: {},
  notes: 'Its signature must be by the Key Server that the profile names by its identity key.',
  async run({ positionals: [file] }, context) {
    const { keyServer } = await context.profile();
    if (keyServer === undefined) throw new CvmpError('CONFIG', 'no key_server');
    const signed = await readTypedBytes(context, file!);
    const receipt = await openReceipt(signed, keyServer.identityKey);
    return {
      json: { valid: true, receipt: toReadable(DestructionReceiptSchema, receipt) },
      text: `the signature holds\n${receiptText(receipt)}`,
    };
  },
});
