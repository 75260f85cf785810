import { CvmpError } from '#core/errors.js';
import { looksLikePem, parsePem } from '#core/x509/pem.js';

/** A file of the configuration: its name for messages, and what is in it. */
export interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** DER of the blocks with this label; a file that is no PEM is one. @throws CvmpError CONFIG */
export function blocks(file: NamedFile, label: 'CERTIFICATE' | 'X509 CRL'): readonly Uint8Array[] {
  if (!looksLikePem(file.bytes)) return [file.bytes];
  const all = wellFormed(file, () => parsePem(file.bytes, file.name));
  return all.filter((block) => block.label === label).map((block) => block.der);
}

/** What is wrong with a file is wrong with the configuration. @throws CvmpError CONFIG */
export function wellFormed<T>(file: NamedFile, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('CONFIG', `${file.name}: ${cause.message}`, { cause });
  }
}
