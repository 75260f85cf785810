import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { CommandContext } from '../command.js';
import { fields, type Output } from '../terminal/output.js';
import { readTypedText } from '../terminal/typed.js';
import { createKeyFile, exists } from './key-file.js';
import {
  type NewProfile,
  parseProfile,
  parsePublicKey,
  profileText,
  publicKeyText,
  type ServerEntry,
} from './profile.js';

/** Options of the commands that write a profile. */
export const newProfileOptions = {
  'key-server-ca': {
    type: 'string',
    value: 'FILE',
    summary: 'PEM certificates that sign its TLS certificate, or that certificate itself.',
  },
  'platform-ca': { type: 'string', value: 'FILE', summary: 'The same for the CVM Platform.' },
  'key-server': { type: 'string', value: 'HOST:PORT', summary: "Key Server's gRPC address." },
  'key-server-name': {
    type: 'string',
    value: 'NAME',
    summary: 'Its name; key-server unless told.',
  },
  identity: {
    type: 'string',
    value: 'FILE',
    summary: 'Its public identity key, as cvmp-key-server init writes it.',
  },
  platform: { type: 'string', value: 'HOST:PORT', summary: "CVM Platform's gRPC address." },
  'platform-name': {
    type: 'string',
    value: 'NAME',
    summary: 'Its name; cvm-platform unless told.',
  },
} as const;

type Typed = { readonly [K in keyof typeof newProfileOptions]: string | undefined };

async function servers(options: Typed, context: CommandContext) {
  const { identity } = options;
  const together = (names: readonly (keyof Typed)[]) => {
    const given = names.filter((name) => options[name] !== undefined);
    if (given.length === 0 || given.length === names.length) return given.length > 0;
    const list = names.map((name) => `--${name}`).join(', ');
    throw new CvmpError('USAGE', `${list} go together`);
  };
  const entry = (address: string, name: string, ca: string): ServerEntry => ({
    address,
    name,
    tlsCa: context.path(ca),
  });
  const profile: { keyServer?: NewProfile['keyServer']; platform?: ServerEntry } = {};
  if (together(['key-server', 'key-server-ca', 'identity'])) {
    const name = options['key-server-name'] ?? 'key-server';
    profile.keyServer = {
      ...entry(options['key-server']!, name, options['key-server-ca']!),
      identityKey: parsePublicKey(await readTypedText(context, identity!), identity!),
    };
  }
  if (together(['platform', 'platform-ca'])) {
    const name = options['platform-name'] ?? 'cvm-platform';
    profile.platform = entry(options.platform!, name, options['platform-ca']!);
  }
  return profile as Pick<NewProfile, 'keyServer' | 'platform'>;
}

/**
 * Writes a profile with keys of its own beside it: `<name>-key.pem` (secret) and `<name>.pub`.
 * @param name `operator`, or the tenant
 * @throws CvmpError USAGE, CONFIG, ALREADY_EXISTS
 */
export async function createProfile(
  who: { readonly tenant: string } | 'operator',
  options: Typed,
  context: CommandContext,
): Promise<Output> {
  const file = context.profilePath;
  if (await exists(file)) {
    throw new CvmpError('ALREADY_EXISTS', `${file} exists already; --profile names another`);
  }
  const own: Partial<NewProfile> =
    who === 'operator'
      ? { operatorKey: 'operator-key.pem' }
      : { tenant: who.tenant, tenantKey: 'tenant-key.pem', idBlockKey: 'id-block-key.pem' };
  const text = profileText({ ...own, ...(await servers(options, context)) });
  // What would not be read back is not written.
  parseProfile(text, file);

  const folder = dirname(file);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const key = await createKeyFile(join(folder, own.tenantKey ?? own.operatorKey!), 'P-256');
  if (own.idBlockKey !== undefined) await createKeyFile(join(folder, own.idBlockKey), 'P-384');
  const publicKey = { curve: key.curve, point: key.publicPoint };
  const name = who === 'operator' ? who : who.tenant;
  const publicFile = join(folder, `${name}.pub`);
  await writeFile(publicFile, `${publicKeyText(publicKey)}\n`);
  await writeFile(file, text, { flag: 'wx' });
  const print = toHex(thumbprint(publicKey));
  const use =
    who === 'operator'
      ? "for operator_key_files of the servers' config"
      : 'for an operator: cvmp tenant register';
  return {
    json: { name, profile: file, public_key: publicFile, thumbprint: print },
    text: fields([
      [who === 'operator' ? 'operator' : 'tenant', name],
      ['profile', file],
      ['public key', `${publicFile} (${use})`],
      ['thumbprint', print],
    ]),
  };
}
