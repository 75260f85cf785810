import { open, stat, writeFile } from 'node:fs/promises';
import type { EcCurve, EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';

const begin = '-----BEGIN PRIVATE KEY-----';
const end = '-----END PRIVATE KEY-----';

/**
 * Reads a private key (PKCS#8 PEM, RFC 7468). A file that others on this machine can read is
 * refused: the key would be no secret.
 * @throws CvmpError USAGE where it cannot be read, CONFIG where its mode is too open, MALFORMED
 */
export async function readKeyFile(file: string, curve?: EcCurve): Promise<EcPrivateKey> {
  const text = await readSecret(file);
  const [, body, rest] = text.split(/-----(?:BEGIN|END) PRIVATE KEY-----\r?\n?/);
  if (body === undefined || rest === undefined) {
    throw new CvmpError('MALFORMED', `${file} is not a private key in PKCS#8 PEM`);
  }
  const key = await crypto.importEcKey(new Uint8Array(Buffer.from(body, 'base64')));
  if (curve !== undefined && key.curve !== curve) {
    throw new CvmpError('CONFIG', `${file} holds a key on ${key.curve}, not on ${curve}`);
  }
  return key;
}

async function readSecret(file: string): Promise<string> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, 'r');
  } catch (cause) {
    throw new CvmpError('USAGE', `cannot read the key file ${file}: ${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    const { mode } = await handle.stat();
    if ((mode & 0o077) !== 0) {
      throw new CvmpError('CONFIG', `others can read the key file ${file}: run chmod 600 ${file}`);
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * Generates a key and writes it to a new file of mode 0600.
 * @throws CvmpError ALREADY_EXISTS; a key file is never overwritten
 */
export async function createKeyFile(file: string, curve: EcCurve): Promise<EcPrivateKey> {
  const key = await crypto.generateEcKey(curve);
  const der = Buffer.from(await crypto.exportEcKey(key)).toString('base64');
  const lines = der.match(/.{1,64}/g) ?? [];
  try {
    await writeFile(file, `${[begin, ...lines, end].join('\n')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new CvmpError('ALREADY_EXISTS', `${file} exists already; keys are never overwritten`, {
      cause,
    });
  }
  return key;
}

/** True where there is something at this path. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
