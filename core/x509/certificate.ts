import { derError, readDer } from '../asn1/read.js';
import { explicitTag, tag } from '../asn1/tags.js';
import { bitStringBytes, time, unsignedBytes, unsignedInteger } from '../asn1/values.js';
import { equalBytes } from '../bytes.js';
import { readSignatureScheme, type SignatureScheme } from './algorithm.js';
import {
  type BasicConstraints,
  basicConstraints,
  type Extensions,
  readExtensions,
} from './extensions.js';
import { type Name, readName } from './name.js';
import { type PublicKeyKind, readPublicKey } from './public-key.js';

/** An X.509 v3 certificate (RFC 5280 s.4.1). Parsed, not trusted. */
export interface Certificate {
  /** The whole certificate as received. */
  readonly der: Uint8Array;
  /** tbsCertificate as received: the signed bytes. */
  readonly tbs: Uint8Array;
  /** Magnitude of the serial number, at least one byte (a VCEK's is 00). */
  readonly serial: Uint8Array;
  readonly signatureScheme: SignatureScheme;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  readonly subject: Name;
  /** First moment of validity, milliseconds since 1970. */
  readonly notBefore: number;
  /** Last moment of validity, milliseconds since 1970. */
  readonly notAfter: number;
  /** SubjectPublicKeyInfo as received. */
  readonly spki: Uint8Array;
  readonly publicKey: PublicKeyKind;
  readonly extensions: Extensions;
  readonly basicConstraints: BasicConstraints;
}

/** Longest serial number, bytes (RFC 5280 s.4.1.2.2). */
export const serialBytesMax = 20;

const version3 = 2;

/**
 * Parses one DER certificate that fills `der`.
 * @param path name of the certificate in messages
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, naming the element
 */
export function parseCertificate(der: Uint8Array, path = 'Certificate'): Certificate {
  return readDer(der, path, (outer) => {
    const tbs = outer.element(tag.sequence, 'tbsCertificate');
    const outerAlgorithm = outer.element(tag.sequence, 'signatureAlgorithm');
    const signature = bitStringBytes(outer.any('signatureValue'));

    const body = outer.reader(tbs);
    const version = body.inside(explicitTag(0), 'version');
    if (unsignedInteger(version.any('number'), 255) !== version3) {
      throw derError('MALFORMED', version.path, 'is not 3');
    }
    version.end();
    const serial = unsignedBytes(body.any('serialNumber'));
    if (serial.length > serialBytesMax) {
      throw derError('SIZE', `${path}.serialNumber`, `is longer than ${serialBytesMax} bytes`);
    }
    const innerAlgorithm = body.element(tag.sequence, 'signature');
    // RFC 5280 s.4.1.1.2: the unsigned algorithm must be the signed one.
    if (!equalBytes(innerAlgorithm.encoded, outerAlgorithm.encoded)) {
      throw derError('MALFORMED', outerAlgorithm.path, 'differs from tbsCertificate.signature');
    }
    const issuer = readName(body, 'issuer');
    const validity = body.sequence('validity');
    const notBefore = time(validity.any('notBefore'));
    const notAfter = time(validity.any('notAfter'));
    validity.end();
    const subject = readName(body, 'subject');
    const { spki, key } = readPublicKey(body);
    const wrapper = body.optionalExplicit(3, 'extensions');
    const extensions: Extensions =
      wrapper === undefined ? new Map() : readExtensions(wrapper.sequence('list'));
    wrapper?.end();
    body.end();
    return {
      der,
      tbs: tbs.encoded,
      serial,
      signatureScheme: readSignatureScheme(body.reader(innerAlgorithm)),
      signature,
      issuer,
      subject,
      notBefore,
      notAfter,
      spki,
      publicKey: key,
      extensions,
      basicConstraints: basicConstraints(extensions),
    };
  });
}
