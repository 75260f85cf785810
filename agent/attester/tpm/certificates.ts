import { CvmpError } from '#core/errors.js';
import { parseCertificate } from '#core/x509/certificate.js';

const sequence = 0x30;

/**
 * DER values that follow each other, as NV indices hold certificates: what comes after the last one
 * is padding. Nothing is judged here but lengths.
 */
export function splitDer(bytes: Uint8Array): readonly Uint8Array[] {
  const values: Uint8Array[] = [];
  for (let rest = bytes; ; ) {
    const length = derLength(rest);
    if (length === undefined || length > rest.length) return values;
    values.push(rest.slice(0, length));
    rest = rest.subarray(length);
  }
}

/** Bytes of the SEQUENCE that these bytes begin with (X.690 s.8.1.3), of two length bytes at most. */
function derLength(bytes: Uint8Array): number | undefined {
  const [tag, first = 0x80, second = 0, third = 0] = bytes;
  if (tag !== sequence) return undefined;
  if (first < 0x80) return 2 + first;
  if (first === 0x81) return 3 + second;
  return first === 0x82 ? 4 + (second << 8) + third : undefined;
}

/**
 * The certificate that an NV index begins with; undefined where there is none that a verifier could
 * read either.
 */
export function firstCertificate(
  bytes: Uint8Array,
): { readonly der: Uint8Array; readonly spki: Uint8Array } | undefined {
  const [der] = splitDer(bytes);
  if (der === undefined) return undefined;
  try {
    return { der, spki: parseCertificate(der).spki };
  } catch (error) {
    if (error instanceof CvmpError) return undefined;
    throw error;
  }
}
