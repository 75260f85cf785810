import { readFileSync, writeFileSync } from 'node:fs';
import { fromBase64Url, toBase64Url } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { selfSigned } from '../self-signed.js';
import type { TlsIdentity } from '../tls.js';

/** Where a server's certificate and its key are. */
export interface TlsFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Reads a file that the configuration names. @throws CvmpError CONFIG */
export function readNamedFile(file: string, field: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(file));
  } catch (cause) {
    throw new CvmpError('CONFIG', `${field}: cannot read ${file}`, { cause, field });
  }
}

/**
 * Writes a file that is not there yet.
 * @throws CvmpError ALREADY_EXISTS, CONFIG
 */
export function writeNewFile(file: string, content: string | Uint8Array, mode: number): void {
  try {
    writeFileSync(file, content, { flag: 'wx', mode });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CvmpError('ALREADY_EXISTS', `there is a file ${file} already`, { cause });
    }
    throw new CvmpError('CONFIG', `cannot write ${file}`, { cause });
  }
}

/** @throws CvmpError CONFIG */
export function readTls({ certificateFile, keyFile }: TlsFiles): TlsIdentity {
  return {
    certificate: textOf(readNamedFile(certificateFile, 'tls.certificate_file')),
    key: textOf(readNamedFile(keyFile, 'tls.key_file')),
  };
}

/**
 * Makes a self-signed certificate for these names and writes it with its key.
 * @throws CvmpError USAGE, ALREADY_EXISTS, CONFIG
 */
export async function createTls(
  files: TlsFiles,
  names: readonly string[],
  now: number,
): Promise<void> {
  const tls = await selfSigned(names, now);
  writeNewFile(files.keyFile, tls.key, 0o600);
  writeNewFile(files.certificateFile, tls.certificate, 0o644);
}

/** A public key as all programs of CVMP write it: a COSE_Key in base64url on one line. */
export function publicKeyLine(key: EcPublicKey): string {
  return `${toBase64Url(encodeCoseKey(key))}\n`;
}

/** Reads what {@link publicKeyLine} wrote. @throws CvmpError CONFIG */
export function readPublicKey(file: string, field: string): EcPublicKey {
  const text = textOf(readNamedFile(file, field));
  try {
    return decodeCoseKey(fromBase64Url(text.trim()), field);
  } catch (cause) {
    throw new CvmpError('CONFIG', `${field}: ${file} holds no public key`, { cause, field });
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
