import { toHex } from '#core/bytes.js';
import { encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { readSigners } from '../profile/signers.js';

export const earKey = command({
  name: 'ear key',
  summary: "A verifier's public key as a policy takes it (appraisal.ear.verifiers.keys).",
  examples: ['cvmp ear key verifier.pem'],
  positionals: ['FILE'],
  options: {},
  notes: 'FILE is a PUBLIC KEY in PEM on P-256 or P-384; what is printed is its COSE_Key in hex.',
  async run({ positionals: [file] }, context) {
    const { keys } = await readSigners([file!], context.now(), context);
    const [key, ...more] = keys;
    if (key === undefined || more.length > 0) {
      throw new CvmpError('USAGE', `${file} is not one public key`);
    }
    const coseKey = toHex(encodeCoseKey(key));
    return { json: { cose_key: coseKey, thumbprint: toHex(thumbprint(key)) }, text: coseKey };
  },
});
