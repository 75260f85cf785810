import { writeFile } from 'node:fs/promises';
import { toHex } from '#core/bytes.js';
import { encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { command } from '../command.js';
import { createKeyFile } from '../profile/key-file.js';
import { publicKeyText } from '../profile/profile.js';
import { fields } from '../terminal/output.js';

export const signerInit = command({
  name: 'signer init',
  summary: 'Makes a key for one of several signers, or for a delegate.',
  examples: ['cvmp signer init bob', 'cvmp signer init bob --dir keys'],
  positionals: ['NAME'],
  options: { dir: { type: 'string', value: 'FOLDER', summary: 'Where to; here unless told.' } },
  notes:
    'Writes NAME-key.pem (secret, mode 0600) and NAME.pub. The line "policy" goes into the signers\n' +
    'of a quorum in a policy; NAME.pub into cvmp delegate create.',
  async run({ positionals: [name], options }, context) {
    const place = (file: string) => context.path(`${options.dir ?? '.'}/${file}`);
    const key = await createKeyFile(place(`${name}-key.pem`), 'P-256');
    const publicKey = { curve: key.curve, point: key.publicPoint };
    const publicFile = place(`${name}.pub`);
    await writeFile(publicFile, `${publicKeyText(publicKey)}\n`);
    const coseKey = toHex(encodeCoseKey(publicKey));
    const print = toHex(thumbprint(publicKey));
    return {
      json: { name, public_key: publicFile, cose_key: coseKey, thumbprint: print },
      text: fields([
        ['signer', name!],
        ['public key', publicFile],
        ['policy', coseKey],
        ['thumbprint', print],
      ]),
    };
  },
});
