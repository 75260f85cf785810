import * as der from '#core/asn1/write.js';
import { fromHex } from '#core/bytes.js';
import { type EcPrivateKey, ecSpki } from '#core/crypto.js';
import { crypto } from '#crypto';

// A certificate authority on P-256 or P-384 for tests: certificates and revocation lists of any content.

const signatureOid = { 'P-256': '1.2.840.10045.4.3.2', 'P-384': '1.2.840.10045.4.3.3' } as const;
const attributeOid: Readonly<Record<string, string>> = { CN: '2.5.4.3', O: '2.5.4.10' };

export interface Subject {
  readonly name: Uint8Array;
  readonly key: EcPrivateKey;
}

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

export const validFrom = Date.parse('2020-01-01T00:00:00Z');
export const validTo = Date.parse('2040-01-01T00:00:00Z');

/** A Name of UTF8String attributes: `distinguishedName({ O: 'x', CN: 'y' })`. */
export function distinguishedName(attributes: Readonly<Record<string, string>>): Uint8Array {
  return der.sequence(
    ...Object.entries(attributes).map(([type, value]) =>
      der.setOf(der.sequence(der.oid(attributeOid[type]!), der.utf8String(value))),
    ),
  );
}

export function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [der.boolean(true)] : [];
  return der.sequence(der.oid(oid), ...flag, der.octetString(value));
}

/** basicConstraints and keyUsage of a CA. */
export function caExtensions(pathLength?: number): Uint8Array[] {
  const length = pathLength === undefined ? [] : [der.integer(pathLength)];
  return [
    extension('2.5.29.19', true, der.sequence(der.boolean(true), ...length)),
    extension('2.5.29.15', true, der.bitString(fromHex('06'), 1)),
  ];
}

/** basicConstraints and keyUsage of a key that signs no certificates. */
export function leafExtensions(): Uint8Array[] {
  return [
    extension('2.5.29.19', true, der.sequence()),
    extension('2.5.29.15', true, der.bitString(fromHex('80'), 7)),
  ];
}

export function spkiOf(key: EcPrivateKey): Uint8Array {
  return ecSpki(key.curve, key.publicPoint);
}

export async function issueCertificate(
  signer: EcPrivateKey,
  content: CertificateContent,
): Promise<Uint8Array> {
  const algorithm = der.sequence(der.oid(signatureOid[signer.curve]));
  const tbs = der.sequence(
    der.explicit(0, der.integer(2)),
    der.integer(content.serial ?? Uint8Array.of(1)),
    algorithm,
    content.issuer,
    der.sequence(der.time(content.notBefore ?? validFrom), der.time(content.notAfter ?? validTo)),
    content.subject,
    content.spki,
    der.explicit(3, der.sequence(...(content.extensions ?? leafExtensions()))),
  );
  return sealed(tbs, algorithm, signer);
}

export interface CrlContent {
  readonly issuer: Uint8Array;
  readonly revoked?: readonly Uint8Array[];
  readonly thisUpdate?: number;
  readonly nextUpdate?: number;
}

export async function issueCrl(signer: EcPrivateKey, content: CrlContent): Promise<Uint8Array> {
  const algorithm = der.sequence(der.oid(signatureOid[signer.curve]));
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
    der.explicit(0, der.sequence(extension('2.5.29.20', false, der.integer(1)))),
  );
  return sealed(tbs, algorithm, signer);
}

async function sealed(
  tbs: Uint8Array,
  algorithm: Uint8Array,
  signer: EcPrivateKey,
): Promise<Uint8Array> {
  return der.sequence(tbs, algorithm, der.bitString(await ecdsaSigValue(signer, tbs)));
}

/** ECDSA-Sig-Value (RFC 3279 s.2.2.3). */
export async function ecdsaSigValue(signer: EcPrivateKey, data: Uint8Array): Promise<Uint8Array> {
  const raw = await crypto.sign(signer, data);
  const half = raw.length / 2;
  return der.sequence(der.integer(raw.subarray(0, half)), der.integer(raw.subarray(half)));
}
