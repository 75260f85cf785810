import { open, stat, writeFile } from 'node:fs/promises';
import type { EcCurve, EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { parsePem, toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';

const label = 'PRIVATE KEY';

/**
 * Reads a private key (PKCS#8 PEM, RFC 7468). A file that others on this machine can read is
 * refused: the key would be no secret.
 * @throws CvmpError USAGE where it cannot be read, CONFIG where its mode is too open, MALFORMED
 */
export async function readKeyFile(file: string, curve?: EcCurve): Promise<EcPrivateKey> {
  const [block, ...more] = parsePem(await readSecret(file), file);
  if (block?.label !== label || more.length > 0) {
    throw new CvmpError('MALFORMED', `${file} is not one private key in PKCS#8 PEM`);
  }
  const key = await crypto.importEcKey(block.der);
  if (curve !== undefined && key.curve !== curve) {
    throw new CvmpError('CONFIG', `${file} holds a key on ${key.curve}, not on ${curve}`);
  }
  return key;
}

async function readSecret(file: string): Promise<Uint8Array> {
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
    return await handle.readFile();
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
  const pem = toPem(label, await crypto.exportEcKey(key));
  try {
    await writeFile(file, pem, { mode: 0o600, flag: 'wx' });
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
