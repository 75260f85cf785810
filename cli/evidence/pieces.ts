import { fromHex, fromUtf8, toHex } from '#core/bytes.js';
import { encodePlatformKey, platformKeyType } from '#core/cca/endorsement.js';
import { readPlatformKeyFile } from '#core/cca/platform-key-file.js';
import { CvmpError } from '#core/errors.js';
import { decodeCmw } from '#core/rats/cmw.js';
import type { EndorsementDocument } from '#core/rats/endorsements.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { reportLength } from '#core/snp/layout.js';
import { isServicesManifest } from '#core/svsm/manifest.js';
import { qeIdentityType, tcbInfoType } from '#core/tdx/endorsement/collateral.js';
import type { PcrValues } from '#core/tpm/quote.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { looksLikePem, parsePem } from '#core/x509/pem.js';
import { readPublicKeyInfo } from '#core/x509/public-key.js';
import { isEarFile } from '../ear/ear-text.js';
import { looksLikeCorim, readCorimFile } from './corim-text.js';
import { isRtmrLog } from './rtmr-log.js';

/** A file as it was read, with its name for messages. */
export interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Kinds of files that are evidence by themselves. */
export const evidenceKinds = [
  'snp-report',
  'tdx-quote',
  'azure-hcl-report',
  'tpm-quote',
  'cca-token',
  'cmw-collection',
  'corim',
  'ear',
] as const;

export type EvidenceKind = (typeof evidenceKinds)[number];

/** One piece of a file, as its content says what it is. */
export type Piece = { readonly name: string; readonly bytes: Uint8Array } & (
  | { readonly kind: EvidenceKind }
  | { readonly kind: 'tpm-signature'; readonly isRaw: boolean }
  | { readonly kind: 'tpm-public' | 'event-log' | 'rtmr-log' | 'svsm-manifest' }
  | { readonly kind: 'certificate' | 'crl' | 'public-key' }
  | { readonly kind: 'pcrs'; readonly banks: ReadonlyMap<string, PcrValues> }
  | { readonly kind: 'document'; readonly document: EndorsementDocument }
  | { readonly kind: 'unknown'; readonly why: string }
);

/** What a file holds; a PEM file or a certificate table may hold several pieces. */
export function piecesOf(file: NamedFile): readonly Piece[] {
  const { name, bytes } = file;
  if (isEarFile(bytes)) return [{ name, bytes, kind: 'ear' }];
  // A JSON file may hold a PEM text.
  const first = bytes.find((byte) => byte > 0x20);
  if (first === 0x7b || first === 0x5b) return [jsonPiece(file) ?? binaryPiece(file)];
  if (looksLikePem(bytes) && bytes.length !== reportLength) {
    // A quote carries its chain as PEM in the middle.
    const found = binaryPiece(file);
    if (found.kind === 'unknown') return pemPieces(file);
  }
  const table = attempt(() => parseCertTable(bytes));
  if (table !== undefined && table.length > 0) {
    return table.map(({ kind, data }) => ({
      name,
      bytes: data,
      kind: kind === 'CRL' ? 'crl' : 'certificate',
    }));
  }
  return [binaryPiece(file)];
}

const pemKinds: Readonly<Record<string, 'certificate' | 'crl' | 'public-key'>> = {
  CERTIFICATE: 'certificate',
  'X509 CRL': 'crl',
  'PUBLIC KEY': 'public-key',
};

function pemPieces({ name, bytes }: NamedFile): readonly Piece[] {
  const unknown = (why: string): Piece[] => [{ name, bytes, kind: 'unknown', why }];
  try {
    const pieces = parsePem(bytes, name).flatMap(({ label, der }): Piece[] => {
      const kind = pemKinds[label];
      return kind === undefined ? [] : [{ name, bytes: der, kind }];
    });
    return pieces.length > 0 ? pieces : unknown('PEM of no certificate, list or public key');
  } catch (error) {
    if (error instanceof CvmpError) return unknown(error.message);
    throw error;
  }
}

const specIdOffset = 32;
const specId = 'Spec ID Event';
const signatureSchemes = [0x14, 0x16, 0x18];
const hashes = [4, 0x0b, 0x0c, 0x0d];
const rsaLengths = [256, 384, 512];

function binaryPiece({ name, bytes }: NamedFile): Piece {
  const is = (kind: EvidenceKind | 'event-log' | 'tpm-public' | 'svsm-manifest'): Piece => ({
    name,
    bytes,
    kind,
  });
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  const big = (a << 8) | b;
  const next = (c << 8) | d;
  if (bytes.length === reportLength) return is('snp-report');
  if (text(bytes, 0, 4) === 'HCLA' || text(bytes, 0).includes('HCLAkPub')) {
    return is('azure-hcl-report');
  }
  if (isServicesManifest(bytes)) return is('svsm-manifest');
  if (text(bytes, specIdOffset, specId.length) === specId) return is('event-log');
  if (a === 0xff && text(bytes, 1, 3) === 'TCG') return is('tpm-quote');
  if (a === 0x30) return derPiece(name, bytes);
  if (rsaLengths.includes(bytes.length) && attempt(() => decodeCmw(bytes)) === undefined) {
    return { name, bytes, kind: 'tpm-signature', isRaw: true };
  }
  if (looksLikeCorim(bytes)) return is('corim');
  if (a >> 5 === 6) return is('cca-token');
  if (a >> 5 === 5) {
    const isManifest = attempt(() => readCorimFile(bytes)) !== undefined;
    return is(isManifest ? 'corim' : 'cmw-collection');
  }
  if (signatureSchemes.includes(big) && hashes.includes(next)) {
    return { name, bytes, kind: 'tpm-signature', isRaw: false };
  }
  if ((big === 1 || big === 0x23) && hashes.includes(next)) return is('tpm-public');
  // Version, then the type of the attestation key, little-endian.
  if (b === 0 && a >= 3 && a <= 9 && d === 0 && (c === 2 || c === 3)) return is('tdx-quote');
  const begins = toHex(bytes.subarray(0, 8));
  const why = begins === '' ? 'it is empty' : `nothing that CVMP knows begins by ${begins}`;
  return { name, bytes, kind: 'unknown', why };
}

function derPiece(name: string, bytes: Uint8Array): Piece {
  if (attempt(() => parseCertificate(bytes)) !== undefined) {
    return { name, bytes, kind: 'certificate' };
  }
  if (attempt(() => parseCertificateList(bytes, name)) !== undefined) {
    return { name, bytes, kind: 'crl' };
  }
  if (attempt(() => readPublicKeyInfo(bytes, name)) !== undefined) {
    return { name, bytes, kind: 'public-key' };
  }
  return { name, bytes, kind: 'unknown', why: 'DER of no certificate, list or public key' };
}

function jsonPiece({ name, bytes }: NamedFile): Piece | undefined {
  const json: unknown = attempt(() => JSON.parse(fromUtf8(bytes, name)));
  if (isRtmrLog(json)) return { name, bytes, kind: 'rtmr-log' };
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined;
  const document = (mediaType: string, value = bytes): Piece => ({
    name,
    bytes,
    kind: 'document',
    document: { mediaType, value },
  });
  if ('tcbInfo' in json) return document(tcbInfoType);
  if ('enclaveIdentity' in json) return document(qeIdentityType);
  if ('implementation_id' in json) {
    const key = attempt(() => encodePlatformKey(readPlatformKeyFile(bytes, name)));
    if (key !== undefined) return document(platformKeyType, key);
  }
  const banks = pcrBanks(json as Readonly<Record<string, unknown>>);
  if (banks !== undefined) return { name, bytes, kind: 'pcrs', banks };
  return { name, bytes, kind: 'unknown', why: 'JSON of no form that CVMP knows' };
}

/** `{"sha256": {"0": "hex", ...}}`, one bank or more. */
function pcrBanks(
  json: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, PcrValues> | undefined {
  const banks = Object.entries(json);
  const known = ['sha1', 'sha256', 'sha384', 'sha512'];
  if (banks.length === 0 || banks.some(([bank]) => !known.includes(bank))) return undefined;
  return attempt(() => new Map(banks.map(([bank, values]) => [bank, pcrValues(bank, values)])));
}

function pcrValues(bank: string, values: unknown): PcrValues {
  const entries = typeof values === 'object' && values !== null ? Object.entries(values) : [];
  if (entries.length === 0 || !entries.every(([pcr]) => /^([0-9]|1[0-9]|2[0-3])$/.test(pcr))) {
    throw new CvmpError('MALFORMED', `${bank} is no table of PCRs`, { field: bank });
  }
  return new Map(
    entries.map(([pcr, value]) => [Number(pcr), fromHex(String(value), `${bank}.${pcr}`)]),
  );
}

function text(bytes: Uint8Array, from: number, length = bytes.length): string {
  return String.fromCharCode(...bytes.subarray(from, Math.min(from + length, from + 16_384)));
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CvmpError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
