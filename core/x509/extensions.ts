import { type DerReader, derError, oneElement, readDer } from '../asn1/read.js';
import { tag } from '../asn1/tags.js';
import { bitString, boolean, octetString, oid, unsignedInteger } from '../asn1/values.js';

/** One extension; `value` is the contents of extnValue. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

export type Extensions = ReadonlyMap<string, Extension>;

/** Extensions of RFC 5280 that CVMP reads. */
export const extensionOid = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  crlReason: '2.5.29.21',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** More extensions than this are refused. */
const extensionsMax = 64;

/**
 * Reads Extensions (RFC 5280 s.4.1.2.9) whose outer SEQUENCE `reader` has entered.
 * @throws CvmpError MALFORMED where one occurs twice or none at all, NOT_CANONICAL
 */
export function readExtensions(reader: DerReader): Extensions {
  const found = new Map<string, Extension>();
  if (reader.done) throw derError('MALFORMED', reader.path, 'is empty');
  while (!reader.done) {
    const inner = reader.sequence('extension');
    const id = oid(inner.any('extnID'));
    const flag = inner.optional(tag.boolean, 'critical');
    const critical = flag !== undefined && boolean(flag);
    if (flag !== undefined && !critical) {
      throw derError('NOT_CANONICAL', flag.path, 'writes its default out');
    }
    const value = octetString(inner.any('extnValue'));
    inner.end();
    if (found.has(id)) throw derError('MALFORMED', reader.path, `has extension ${id} twice`);
    if (found.size === extensionsMax) {
      throw derError('SIZE', reader.path, `has more than ${extensionsMax} extensions`);
    }
    found.set(id, { oid: id, critical, value });
  }
  return found;
}

/** basicConstraints (RFC 5280 s.4.2.1.9). */
export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL */
export function basicConstraints(extensions: Extensions): BasicConstraints {
  const extension = extensions.get(extensionOid.basicConstraints);
  if (extension === undefined) return { ca: false, pathLength: undefined };
  return readDer(extension.value, 'basicConstraints', (reader) => {
    const flag = reader.optional(tag.boolean, 'cA');
    const ca = flag !== undefined && boolean(flag);
    const length = reader.optional(tag.integer, 'pathLenConstraint');
    if (length !== undefined && !ca) {
      throw derError('MALFORMED', 'basicConstraints', 'has a path length without being of a CA');
    }
    return { ca, pathLength: length === undefined ? undefined : unsignedInteger(length, 255) };
  });
}

/**
 * Whether extendedKeyUsage (RFC 5280 s.4.2.1.12) names this purpose; one that is absent names all.
 * @throws CvmpError MALFORMED, NOT_CANONICAL
 */
export function permitsPurpose(extensions: Extensions, purpose: string): boolean {
  const extension = extensions.get(extensionOid.extendedKeyUsage);
  if (extension === undefined) return true;
  return readDer(extension.value, 'extKeyUsage', (list) => {
    let found = false;
    while (!list.done) found = oid(list.any('keyPurposeId')) === purpose || found;
    return found;
  });
}

/** Bits of keyUsage (RFC 5280 s.4.2.1.3) by their number. */
export const keyUsageBit = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;

/** Whether keyUsage permits the use; absent keyUsage permits all. @throws CvmpError MALFORMED */
export function permitsUsage(extensions: Extensions, bit: number): boolean {
  const extension = extensions.get(extensionOid.keyUsage);
  if (extension === undefined) return true;
  const { bytes } = bitString(oneElement(extension.value, 'keyUsage'));
  return ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0;
}
