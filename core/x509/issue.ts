import {
  bitString,
  boolean,
  element,
  explicit,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  setOf,
  time,
  utf8String,
} from '../asn1/write.js';
import { utf8 } from '../bytes.js';
import type { SignatureAlgorithm } from '../crypto.js';

// Writing certificates: the self-signed one of a server's first start, and the chains of simulated
// security processors. Reading and judging them is the rest of this room.

/** Who signs a certificate. */
export interface CertificateSigner {
  readonly algorithm: SignatureAlgorithm;
  /** ECDSA: raw r || s; RSA: as it is. */
  readonly sign: (tbs: Uint8Array) => Promise<Uint8Array>;
}

export interface CertificateContent {
  /** Unsigned, big-endian, at most 20 bytes (RFC 5280 s.4.1.2.2). */
  readonly serial: Uint8Array;
  /** DER of a Name, see {@link distinguishedName}. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Each by {@link extension}; none gives a certificate without the field. */
  readonly extensions: readonly Uint8Array[];
}

const attributeOids: Readonly<Record<string, string>> = {
  CN: '2.5.4.3',
  C: '2.5.4.6',
  L: '2.5.4.7',
  ST: '2.5.4.8',
  O: '2.5.4.10',
  OU: '2.5.4.11',
};

/** A Name of these attributes in this order: `[['O', 'CVMP'], ['CN', 'key-server']]`. */
export function distinguishedName(
  attributes: readonly (readonly [name: string, value: string])[],
): Uint8Array {
  const rdns = attributes.map(([name, value]) => {
    const type = attributeOids[name];
    if (type === undefined) throw new TypeError(`no attribute ${name}`);
    return setOf(sequence(oid(type), utf8String(value)));
  });
  return sequence(...rdns);
}

/** @param value DER of the extension's value, or its raw bytes where the extension says so */
export function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return critical
    ? sequence(oid(id), boolean(true), octetString(value))
    : sequence(oid(id), octetString(value));
}

/** basicConstraints, critical (RFC 5280 s.4.2.1.9). */
export function basicConstraints(isCa: boolean, pathLength?: number): Uint8Array {
  const inner = isCa ? [boolean(true)] : [];
  if (pathLength !== undefined) inner.push(integer(pathLength));
  return extension('2.5.29.19', true, sequence(...inner));
}

/** Bits of keyUsage from the left (RFC 5280 s.4.2.1.3). */
const usageBits = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const;

/** keyUsage, critical. */
export function keyUsage(...usages: readonly (keyof typeof usageBits)[]): Uint8Array {
  const bits = usages.map((usage) => usageBits[usage]);
  const octet = bits.reduce<number>((sum, bit) => sum | (0x80 >> bit), 0);
  return extension('2.5.29.15', true, bitString(Uint8Array.of(octet), 7 - Math.max(...bits)));
}

/** extKeyUsage of a TLS server. */
export function serverAuth(): Uint8Array {
  return extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1')));
}

/** subjectAltName (RFC 5280 s.4.2.1.6). @param ips 4 or 16 bytes each */
export function subjectAltName(
  dnsNames: readonly string[],
  ips: readonly Uint8Array[],
): Uint8Array {
  const names = [
    ...dnsNames.map((name) => element(0x82, utf8(name))),
    ...ips.map((ip) => element(0x87, ip)),
  ];
  return extension('2.5.29.17', false, sequence(...names));
}

/** Signs a version 3 certificate (RFC 5280 s.4.1). @returns DER */
export async function issueCertificate(
  content: CertificateContent,
  signer: CertificateSigner,
): Promise<Uint8Array> {
  const algorithm = algorithmIdentifier(signer.algorithm);
  const { extensions } = content;
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(content.serial),
    algorithm,
    content.issuer,
    sequence(time(content.notBefore), time(content.notAfter)),
    content.subject,
    content.spki,
    ...(extensions.length === 0 ? [] : [explicit(3, sequence(...extensions))]),
  );
  const raw = await signer.sign(tbs);
  const signature = signer.algorithm.startsWith('ES') ? ecdsaSigValue(raw) : raw;
  return sequence(tbs, algorithm, bitString(signature));
}

/** ECDSA-Sig-Value (RFC 3279 s.2.2.3) of raw r || s. */
export function ecdsaSigValue(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return sequence(integer(raw.subarray(0, half)), integer(raw.subarray(half)));
}

/** AlgorithmIdentifier of a signature, in the parameters that RFC 4055 and RFC 5758 ask. */
export function algorithmIdentifier(algorithm: SignatureAlgorithm): Uint8Array {
  switch (algorithm) {
    case 'ES256':
      return sequence(oid('1.2.840.10045.4.3.2'));
    case 'ES384':
      return sequence(oid('1.2.840.10045.4.3.3'));
    case 'RS256':
      return sequence(oid('1.2.840.113549.1.1.11'), nullValue());
    case 'RS384':
      return sequence(oid('1.2.840.113549.1.1.12'), nullValue());
    case 'PS256':
      return pss('2.16.840.1.101.3.4.2.1', 32);
    case 'PS384':
      return pss('2.16.840.1.101.3.4.2.2', 48);
  }
}

/** RSASSA-PSS with MGF1 of the same hash (RFC 4055 s.3.1); the trailer is the default. */
function pss(hashOid: string, saltLength: number): Uint8Array {
  const hash = sequence(oid(hashOid), nullValue());
  return sequence(
    oid('1.2.840.113549.1.1.10'),
    sequence(
      explicit(0, hash),
      explicit(1, sequence(oid('1.2.840.113549.1.1.8'), hash)),
      explicit(2, integer(saltLength)),
    ),
  );
}
