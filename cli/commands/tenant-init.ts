import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { createKeyFile, exists } from '../key-file.js';
import { fields } from '../output.js';
import { parseProfile, profileText, type ServerEntry } from '../profile.js';
import { hexBytes } from '../typed.js';

/** `host:port` and a name, given together or not at all. @throws CvmpError USAGE */
function entry(
  address: string | undefined,
  name: string | undefined,
  otherwise: string,
): ServerEntry | undefined {
  return address === undefined ? undefined : { address, name: name ?? otherwise };
}

export const tenantInit = command({
  name: 'tenant init',
  summary: "Makes a tenant's keys and a profile.",
  examples: [
    'cvmp tenant init acme --ca ca.pem --key-server ks.example:7443 --identity-key a50102... \\',
    '    --platform cloud.example:7444',
  ],
  positionals: ['TENANT'],
  options: {
    ca: { type: 'string', value: 'FILE', summary: "PEM certificates that sign the servers' TLS." },
    'key-server': { type: 'string', value: 'HOST:PORT', summary: "Key Server's gRPC address." },
    'key-server-name': {
      type: 'string',
      value: 'NAME',
      summary: 'Its name; key-server unless told.',
    },
    'identity-key': {
      type: 'string',
      value: 'HEX',
      summary: 'COSE_Key of its identity, as cvmp-key-server init prints it.',
    },
    platform: { type: 'string', value: 'HOST:PORT', summary: "CVM Platform's gRPC address." },
    'platform-name': {
      type: 'string',
      value: 'NAME',
      summary: 'Its name; cvm-platform unless told.',
    },
  },
  notes:
    'Writes the profile (--profile FILE says where) and beside it tenant-key.pem and\n' +
    'id-block-key.pem (secret, mode 0600) and TENANT.pub, to be given to the operators for\n' +
    'cvmp tenant register.',
  async run({ positionals: [tenant], options }, context) {
    const file = context.profilePath;
    if (await exists(file)) {
      throw new CvmpError('ALREADY_EXISTS', `${file} exists already; --profile names another`);
    }
    if (options.ca === undefined) throw new CvmpError('USAGE', '--ca is missing');
    const server = entry(options['key-server'], options['key-server-name'], 'key-server');
    const platform = entry(options.platform, options['platform-name'], 'cvm-platform');
    const identity = options['identity-key'];
    if ((server === undefined) !== (identity === undefined)) {
      throw new CvmpError('USAGE', '--key-server and --identity-key go together');
    }
    const text = profileText({
      tenant: tenant!,
      tenantKey: 'tenant-key.pem',
      idBlockKey: 'id-block-key.pem',
      tlsCa: context.path(options.ca),
      ...(server === undefined
        ? {}
        : {
            keyServer: {
              ...server,
              identityKey: hexBytes(identity!, '--identity-key', identity!.length / 2),
            },
          }),
      ...(platform === undefined ? {} : { platform }),
    });
    // What would not be read back is not written.
    parseProfile(text, file);
    const folder = dirname(file);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const key = await createKeyFile(join(folder, 'tenant-key.pem'), 'P-256');
    await createKeyFile(join(folder, 'id-block-key.pem'), 'P-384');
    const publicKey = { curve: key.curve, point: key.publicPoint };
    const publicFile = join(folder, `${tenant}.pub`);
    await writeFile(publicFile, `${toHex(encodeCoseKey(publicKey))}\n`);
    await writeFile(file, text, { flag: 'wx' });
    const print = toHex(thumbprint(publicKey));
    return {
      json: { tenant: tenant!, profile: file, public_key: publicFile, thumbprint: print },
      text: fields([
        ['tenant', tenant!],
        ['profile', file],
        ['public key', `${publicFile} (for cvmp tenant register)`],
        ['thumbprint', print],
      ]),
    };
  },
});
