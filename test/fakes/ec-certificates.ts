import * as der from '#core/asn1/write.js';
import { type EcPrivateKey, ecSpki } from '#core/crypto.js';
import { crypto } from '#crypto';

/** DER AlgorithmIdentifiers of ECDSA. */
export const ecdsa = {
  'P-256': der.sequence(der.oid('1.2.840.10045.4.3.2')),
  'P-384': der.sequence(der.oid('1.2.840.10045.4.3.3')),
} as const;

export function commonName(name: string): Uint8Array {
  return der.sequence(der.setOf(der.sequence(der.oid('2.5.4.3'), der.utf8String(name))));
}

export function extension(oid: string, value: Uint8Array, critical = false): Uint8Array {
  const flag = critical ? [der.boolean(true)] : [];
  return der.sequence(der.oid(oid), ...flag, der.octetString(value));
}

const all = { from: Date.UTC(2020, 0, 1), to: Date.UTC(2040, 0, 1) };

/** Every element of a certificate, so that a test can replace any of them. */
export interface CertificateParts {
  readonly version: Uint8Array;
  readonly serial: Uint8Array;
  /** signature in tbsCertificate. */
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly validity: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  /** Extension elements; undefined: no extensions at all. */
  readonly extensions: readonly Uint8Array[] | undefined;
  /** Elements after the extensions. */
  readonly more: readonly Uint8Array[];
  /** signatureAlgorithm outside. */
  readonly outerAlgorithm: Uint8Array;
  readonly afterSignature: readonly Uint8Array[];
}

/** A key with the name that it issues under. */
export interface EcAuthority {
  readonly key: EcPrivateKey;
  readonly name: string;
}

export const caExtensions = (pathLength?: number): Uint8Array[] => {
  const length = pathLength === undefined ? [] : [der.integer(pathLength)];
  return [
    extension('2.5.29.19', der.sequence(der.boolean(true), ...length), true),
    extension('2.5.29.15', der.bitString(Uint8Array.of(0x06), 1), true),
  ];
};

/** Issues a certificate signed by ECDSA, with any of its parts replaced before it is signed. */
export async function ecCertificate(
  issuer: EcAuthority,
  subject: EcAuthority,
  parts: Partial<CertificateParts> = {},
): Promise<Uint8Array> {
  const algorithm = ecdsa[issuer.key.curve];
  const p: CertificateParts = {
    version: der.explicit(0, der.integer(2)),
    serial: der.integer(7),
    algorithm,
    issuer: commonName(issuer.name),
    validity: der.sequence(der.time(all.from), der.time(all.to)),
    subject: commonName(subject.name),
    spki: ecSpki(subject.key.curve, subject.key.publicPoint),
    extensions: undefined,
    more: [],
    outerAlgorithm: parts.algorithm ?? algorithm,
    afterSignature: [],
    ...parts,
  };
  const extensions =
    p.extensions === undefined ? [] : [der.explicit(3, der.sequence(...p.extensions))];
  const tbs = der.sequence(
    p.version,
    p.serial,
    p.algorithm,
    p.issuer,
    p.validity,
    p.subject,
    p.spki,
    ...extensions,
    ...p.more,
  );
  return der.sequence(
    tbs,
    p.outerAlgorithm,
    der.bitString(await ecdsaSignature(issuer.key, tbs)),
    ...p.afterSignature,
  );
}

/** ECDSA-Sig-Value. */
export async function ecdsaSignature(key: EcPrivateKey, data: Uint8Array): Promise<Uint8Array> {
  const raw = await crypto.sign(key, data);
  const half = raw.length / 2;
  return der.sequence(der.integer(raw.subarray(0, half)), der.integer(raw.subarray(half)));
}
