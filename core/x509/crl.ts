import { type DerReader, derError, oneElement, readDer } from '../asn1/read.js';
import { explicitTag, tag } from '../asn1/tags.js';
import { bitStringBytes, time, unsignedBytes, unsignedInteger } from '../asn1/values.js';
import { equalBytes, toHex } from '../bytes.js';
import { readSignatureScheme, type SignatureScheme } from './algorithm.js';
import { serialBytesMax } from './certificate.js';
import { type Extensions, extensionOid, readExtensions } from './extensions.js';
import { type Name, readName } from './name.js';

/** A version 2 CertificateList (RFC 5280 s.5.1). Parsed, not trusted. */
export interface CertificateList {
  readonly der: Uint8Array;
  /** tbsCertList as received: the signed bytes. */
  readonly tbs: Uint8Array;
  readonly signatureScheme: SignatureScheme;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  /** Milliseconds since 1970. */
  readonly nextUpdate: number;
  /** Magnitudes of the revoked serial numbers, lower-case hex. */
  readonly revoked: ReadonlySet<string>;
  readonly extensions: Extensions;
  /** cRLNumber, big-endian magnitude, where it is there. */
  readonly number: Uint8Array | undefined;
}

const version2 = 1;

/**
 * Parses one DER CRL that fills `der`. nextUpdate is required: a list without it never goes stale.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL (in an entry)
 */
export function parseCertificateList(der: Uint8Array, path = 'CertificateList'): CertificateList {
  return readDer(der, path, (outer) => {
    const tbs = outer.element(tag.sequence, 'tbsCertList');
    const outerAlgorithm = outer.element(tag.sequence, 'signatureAlgorithm');
    const signature = bitStringBytes(outer.any('signatureValue'));

    const body = outer.reader(tbs);
    if (unsignedInteger(body.any('version'), 255) !== version2) {
      throw derError('MALFORMED', `${path}.version`, 'is not 2');
    }
    const innerAlgorithm = body.element(tag.sequence, 'signature');
    if (!equalBytes(innerAlgorithm.encoded, outerAlgorithm.encoded)) {
      throw derError('MALFORMED', outerAlgorithm.path, 'differs from tbsCertList.signature');
    }
    const issuer = readName(body, 'issuer');
    const thisUpdate = time(body.any('thisUpdate'));
    const nextUpdate = time(body.any('nextUpdate'));
    const revoked = readRevoked(body);
    const wrapper = body.inside(explicitTag(0), 'crlExtensions');
    const extensions = readExtensions(wrapper.sequence('list'));
    wrapper.end();
    body.end();
    return {
      der,
      tbs: tbs.encoded,
      signatureScheme: readSignatureScheme(body.reader(innerAlgorithm)),
      signature,
      issuer,
      thisUpdate,
      nextUpdate,
      revoked,
      extensions,
      number: crlNumber(extensions),
    };
  });
}

function readRevoked(body: DerReader): ReadonlySet<string> {
  const revoked = new Set<string>();
  const list = body.optional(tag.sequence, 'revokedCertificates');
  if (list === undefined) return revoked;
  const entries = body.reader(list);
  if (entries.done) throw derError('MALFORMED', list.path, 'is empty');
  while (!entries.done) {
    const entry = entries.sequence('entry');
    const serial = unsignedBytes(entry.any('userCertificate'));
    if (serial.length > serialBytesMax) throw derError('SIZE', entry.path, 'has a long serial');
    time(entry.any('revocationDate'));
    if (!entry.done) {
      for (const extension of readExtensions(entry.sequence('crlEntryExtensions')).values()) {
        if (!extension.critical) continue;
        throw derError('UNKNOWN_CRITICAL', entry.path, `has critical extension ${extension.oid}`);
      }
    }
    entry.end();
    revoked.add(toHex(serial));
  }
  return revoked;
}

function crlNumber(extensions: Extensions): Uint8Array | undefined {
  const extension = extensions.get(extensionOid.crlNumber);
  return extension === undefined
    ? undefined
    : unsignedBytes(oneElement(extension.value, 'cRLNumber'));
}
