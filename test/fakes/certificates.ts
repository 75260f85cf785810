import * as der from '#core/asn1/write.js';
import { fromHex } from '#core/bytes.js';
import { type EcPrivateKey, ecSpki } from '#core/crypto.js';
import { ecCertificate, ecdsa, ecdsaSignature, extension } from './ec-certificates.js';

// A certificate authority on P-256 or P-384 for tests, with revocation lists; names are given whole.

export { caExtensions, commonName, extension } from './ec-certificates.js';

export interface CertificateContent {
  readonly serial?: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Milliseconds since 1970. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly extensions?: readonly Uint8Array[];
}

const validFrom = Date.parse('2020-01-01T00:00:00Z');
const validTo = Date.parse('2040-01-01T00:00:00Z');

/** basicConstraints and keyUsage of a key that signs no certificates. */
export function leafExtensions(): Uint8Array[] {
  return [
    extension('2.5.29.19', der.sequence(), true),
    extension('2.5.29.15', der.bitString(fromHex('80'), 7), true),
  ];
}

export function spkiOf(key: EcPrivateKey): Uint8Array {
  return ecSpki(key.curve, key.publicPoint);
}

export function issueCertificate(
  signer: EcPrivateKey,
  content: CertificateContent,
): Promise<Uint8Array> {
  const { notBefore = validFrom, notAfter = validTo } = content;
  const authority = { key: signer, name: '' };
  return ecCertificate(authority, authority, {
    serial: der.integer(content.serial ?? Uint8Array.of(1)),
    issuer: content.issuer,
    subject: content.subject,
    spki: content.spki,
    validity: der.sequence(der.time(notBefore), der.time(notAfter)),
    extensions: content.extensions ?? leafExtensions(),
  });
}

export interface CrlContent {
  readonly issuer: Uint8Array;
  readonly revoked?: readonly Uint8Array[];
  readonly thisUpdate?: number;
  readonly nextUpdate?: number;
}

export async function issueCrl(signer: EcPrivateKey, content: CrlContent): Promise<Uint8Array> {
  const algorithm = ecdsa[signer.curve];
  const revoked = (content.revoked ?? []).map((serial) =>
    der.sequence(der.integer(serial), der.time(validFrom)),
  );
  const tbs = der.sequence(
    der.integer(1),
    algorithm,
    content.issuer,
    der.time(content.thisUpdate ?? validFrom),
    der.time(content.nextUpdate ?? validTo),
    ...(revoked.length === 0 ? [] : [der.sequence(...revoked)]),
    der.explicit(0, der.sequence(extension('2.5.29.20', der.integer(1)))),
  );
  return der.sequence(tbs, algorithm, der.bitString(await ecdsaSignature(signer, tbs)));
}
