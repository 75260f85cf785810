import { constants, createPublicKey, type KeyObject, sign as nodeSign } from 'node:crypto';
import * as der from '#core/asn1/write.js';
import { ecSpki } from '#core/crypto.js';
import { endorsementOid } from '#core/snp/endorsement/extensions.js';
import { products, type SnpProduct, type SnpTcb } from '#core/snp/product.js';

// Certificates and revocation lists as AMD issues them: RSASSA-PSS with SHA-384 and a salt of 48
// bytes, the same order of names, the same extensions.

/** An RSA-4096 key of the simulated vendor and the name that it issues under. */
export interface Issuer {
  readonly key: KeyObject;
  /** DER Name. */
  readonly name: Uint8Array;
}

/** What goes into a certificate. */
export interface CertificateContent {
  readonly serial: Uint8Array;
  readonly subject: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /** DER Extension elements. */
  readonly extensions: readonly Uint8Array[];
}

const oids = {
  organizationalUnit: '2.5.4.11',
  country: '2.5.4.6',
  organization: '2.5.4.10',
  commonName: '2.5.4.3',
  sha384: '2.16.840.1.101.3.4.2.2',
  mgf1: '1.2.840.113549.1.1.8',
  rsassaPss: '1.2.840.113549.1.1.10',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  crlNumber: '2.5.29.20',
} as const;

/** Organisation that no real certificate has, so that a simulated one is told by the eye. */
const organization = 'CVMP simulated security processor';

export function simulatedName(commonName: string): Uint8Array {
  const attribute = (type: string, value: Uint8Array) =>
    der.setOf(der.sequence(der.oid(type), value));
  return der.sequence(
    attribute(oids.organizationalUnit, der.utf8String('Engineering')),
    attribute(oids.country, der.printableString('ZZ')),
    attribute(oids.organization, der.utf8String(organization)),
    attribute(oids.commonName, der.utf8String(commonName)),
  );
}

const sha384 = der.sequence(der.oid(oids.sha384), der.nullValue());

/** AlgorithmIdentifier of every signature here. */
export const pssSha384 = der.sequence(
  der.oid(oids.rsassaPss),
  der.sequence(
    der.explicit(0, sha384),
    der.explicit(1, der.sequence(der.oid(oids.mgf1), sha384)),
    der.explicit(2, der.integer(48)),
  ),
);

/** As AMD writes it in its older certificates: with the default trailer, which DER leaves out. */
export const pssSha384WithTrailer = der.sequence(
  der.oid(oids.rsassaPss),
  der.sequence(
    der.explicit(0, sha384),
    der.explicit(1, der.sequence(der.oid(oids.mgf1), sha384)),
    der.explicit(2, der.integer(48)),
    der.explicit(3, der.integer(1)),
  ),
);

/** RSASSA-PSS with SHA-384. */
export function signPss(key: KeyObject, data: Uint8Array, saltLength = 48): Uint8Array {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return new Uint8Array(nodeSign('sha384', data, { key, padding, saltLength }));
}

/** SEQUENCE { tbs, algorithm, signature }. */
function signed(tbs: Uint8Array, key: KeyObject, algorithm = pssSha384): Uint8Array {
  return der.sequence(tbs, algorithm, der.bitString(signPss(key, tbs)));
}

/** Issues a version 3 certificate; DER. */
export function issueCertificate(issuer: Issuer, content: CertificateContent): Uint8Array {
  const { serial, subject, spki, notBefore, notAfter, extensions } = content;
  const tbs = der.sequence(
    der.explicit(0, der.integer(2)),
    der.integer(serial),
    pssSha384,
    issuer.name,
    der.sequence(der.time(notBefore), der.time(notAfter)),
    subject,
    spki,
    ...(extensions.length === 0 ? [] : [der.explicit(3, der.sequence(...extensions))]),
  );
  return signed(tbs, issuer.key);
}

/** What goes into a revocation list. */
export interface CrlContent {
  readonly number: number;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly revokedSerials: readonly Uint8Array[];
  /** DER Extension elements beside cRLNumber. */
  readonly extensions?: readonly Uint8Array[];
  /** AlgorithmIdentifier that it states. */
  readonly algorithm?: Uint8Array;
}

/** Issues a version 2 revocation list; DER. */
export function issueCrl(issuer: Issuer, content: CrlContent): Uint8Array {
  const { number, thisUpdate, nextUpdate, revokedSerials, extensions = [] } = content;
  const { algorithm = pssSha384 } = content;
  const entries = revokedSerials.map((serial) =>
    der.sequence(der.integer(serial), der.time(thisUpdate)),
  );
  const tbs = der.sequence(
    der.integer(1),
    algorithm,
    issuer.name,
    der.time(thisUpdate),
    der.time(nextUpdate),
    ...(entries.length === 0 ? [] : [der.sequence(...entries)]),
    der.explicit(0, der.sequence(extension(oids.crlNumber, der.integer(number)), ...extensions)),
  );
  return signed(tbs, issuer.key, algorithm);
}

export function extension(oid: string, value: Uint8Array, critical = false): Uint8Array {
  const flag = critical ? [der.boolean(true)] : [];
  return der.sequence(der.oid(oid), ...flag, der.octetString(value));
}

/** basicConstraints and keyUsage of ARK (may sign lists) and ASK (may have no CA below). */
export function authorityExtensions(role: 'ARK' | 'ASK'): Uint8Array[] {
  const constraints =
    role === 'ARK'
      ? der.sequence(der.boolean(true))
      : der.sequence(der.boolean(true), der.integer(0));
  const usage =
    role === 'ARK' ? der.bitString(Uint8Array.of(0x06), 1) : der.bitString(Uint8Array.of(0x04), 2);
  return [
    extension(oids.basicConstraints, constraints, true),
    extension(oids.keyUsage, usage, true),
  ];
}

/** What a VCEK or VLEK certificate binds its key to. */
export interface EndorsementBinding {
  readonly product: SnpProduct;
  readonly tcb: SnpTcb;
  /** VCEK: 64 bytes, 8 for Turin. */
  readonly hwId?: Uint8Array;
  /** VLEK. */
  readonly cspId?: string;
}

/** The extensions of AMD's VCEK specification, in AMD's order. */
export function endorsementExtensions(binding: EndorsementBinding): Uint8Array[] {
  const { product, tcb, hwId, cspId } = binding;
  const { structVersion, tcbBytes } = products[product];
  const spl = (oid: string, value: number) => extension(oid, der.integer(value));
  const isTurin = tcbBytes.fmc !== undefined;
  const name = product === 'Milan' && hwId !== undefined ? 'Milan-B0' : product;
  const list = [
    spl(endorsementOid.structVersion, structVersion),
    extension(endorsementOid.productName, der.ia5String(name)),
    ...(isTurin ? [spl(endorsementOid.fmcSpl, tcb.fmc)] : []),
    spl(endorsementOid.blSpl, tcb.bootloader),
    spl(endorsementOid.teeSpl, tcb.tee),
    ...(isTurin ? [] : [spl(endorsementOid.spl4, 0)]),
    spl(endorsementOid.spl5, 0),
    spl(endorsementOid.spl6, 0),
    spl(endorsementOid.spl7, 0),
    spl(endorsementOid.snpSpl, tcb.snp),
    spl(endorsementOid.ucodeSpl, tcb.microcode),
  ];
  if (hwId !== undefined) list.push(extension(endorsementOid.hwId, hwId));
  if (cspId !== undefined) list.push(extension(endorsementOid.cspId, der.ia5String(cspId)));
  return list;
}

/** SubjectPublicKeyInfo of an RSA key. */
export function rsaSpki(key: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }));
}

/** SubjectPublicKeyInfo of a P-384 point. */
export function p384Spki(point: Uint8Array): Uint8Array {
  return ecSpki('P-384', point);
}
