import { crypto } from '#crypto';
import { ByteReader, concat, isZero, reversed } from '../../bytes.js';
import { type EcPrivateKey, ecSpki } from '../../crypto.js';
import { CvmpError } from '../../errors.js';
import { scalarLength } from '../layout.js';

/**
 * The ID block (SEV-SNP ABI s.8.18): what the owner of a guest says that it must be. The security
 * processor itself refuses a launch that is another, and puts GUEST_SVN into every report.
 */
export interface IdBlock {
  /** Expected MEASUREMENT, 48 bytes. */
  readonly measurement: Uint8Array;
  /** 16 bytes. */
  readonly familyId: Uint8Array;
  /** 16 bytes. */
  readonly imageId: Uint8Array;
  readonly guestSvn: number;
  /** Guest POLICY that the guest must be launched with. */
  readonly guestPolicy: bigint;
}

export const idBlockLength = 96;
export const idAuthLength = 4096;

const idBlockVersion = 1;
const ecdsaP384Sha384 = 1;
const curveP384 = 2;
/** Coordinates and scalars are little-endian in 72 bytes. */
const fieldLength = 72;
const publicKeyLength = 0x404;
const signatureLength = 512;

/** Offsets in the ID authentication information structure. */
const auth = {
  idKeyAlgo: 0x000,
  authorKeyAlgo: 0x004,
  idBlockSig: 0x040,
  idKey: 0x240,
  idKeySig: 0x680,
  authorKey: 0x880,
} as const;

/** Whose keys signed an ID block, as they appear in reports. */
export interface IdBlockSigners {
  /** ID_KEY_DIGEST, 48 bytes. */
  readonly idKeyDigest: Uint8Array;
  /** AUTHOR_KEY_DIGEST, 48 bytes; undefined where there is no author key. */
  readonly authorKeyDigest: Uint8Array | undefined;
}

/** 96 bytes. */
export function encodeIdBlock(block: IdBlock): Uint8Array {
  const tail = new Uint8Array(16);
  const view = new DataView(tail.buffer);
  view.setUint32(0, idBlockVersion, true);
  view.setUint32(4, block.guestSvn, true);
  view.setBigUint64(8, block.guestPolicy, true);
  return concat(block.measurement, block.familyId, block.imageId, tail);
}

/** @throws CvmpError MALFORMED, UNSUPPORTED_VERSION */
export function parseIdBlock(bytes: Uint8Array): IdBlock {
  const reader = new ByteReader(bytes, 'little');
  const block = {
    measurement: reader.take(48, 'ID block LD'),
    familyId: reader.take(16, 'ID block FAMILY_ID'),
    imageId: reader.take(16, 'ID block IMAGE_ID'),
  };
  const version = reader.u32('ID block VERSION');
  if (version !== idBlockVersion) {
    throw new CvmpError('UNSUPPORTED_VERSION', `ID block of version ${version}`);
  }
  const guestSvn = reader.u32('ID block GUEST_SVN');
  const guestPolicy = reader.u64('ID block POLICY');
  reader.end('ID block');
  return { ...block, guestSvn, guestPolicy };
}

/**
 * The public key as AMD's firmware hashes it: curve, X, Y, zeros; 1028 bytes.
 * @param point 04 || X || Y on P-384 (97 bytes)
 */
export function snpPublicKey(point: Uint8Array): Uint8Array {
  const out = new Uint8Array(publicKeyLength);
  new DataView(out.buffer).setUint32(0, curveP384, true);
  out.set(reversed(point.subarray(1, 1 + scalarLength)), 4);
  out.set(reversed(point.subarray(1 + scalarLength)), 4 + fieldLength);
  return out;
}

/** ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of a key (48 bytes). @param point as {@link snpPublicKey} */
export function snpKeyDigest(point: Uint8Array): Uint8Array {
  return crypto.hash('sha384', snpPublicKey(point));
}

/**
 * A signature in the form of AMD's firmware: R, S little-endian, zeros; 512 bytes.
 * @param raw r || s, 96 bytes
 */
export function snpSignature(raw: Uint8Array): Uint8Array {
  const out = new Uint8Array(signatureLength);
  out.set(reversed(raw.subarray(0, scalarLength)), 0);
  out.set(reversed(raw.subarray(scalarLength)), fieldLength);
  return out;
}

/**
 * Signs an ID block.
 * @param idBlock 96 bytes
 * @param idKey on P-384
 * @param authorKey on P-384; signs the ID key where it is given
 * @returns ID authentication information, 4096 bytes
 */
export async function signIdBlock(
  idBlock: Uint8Array,
  idKey: EcPrivateKey,
  authorKey?: EcPrivateKey,
): Promise<Uint8Array> {
  const out = new Uint8Array(idAuthLength);
  const view = new DataView(out.buffer);
  const publicIdKey = snpPublicKey(idKey.publicPoint);
  view.setUint32(auth.idKeyAlgo, ecdsaP384Sha384, true);
  out.set(snpSignature(await crypto.sign(idKey, idBlock)), auth.idBlockSig);
  out.set(publicIdKey, auth.idKey);
  if (authorKey !== undefined) {
    view.setUint32(auth.authorKeyAlgo, ecdsaP384Sha384, true);
    out.set(snpSignature(await crypto.sign(authorKey, publicIdKey)), auth.idKeySig);
    out.set(snpPublicKey(authorKey.publicPoint), auth.authorKey);
  }
  return out;
}

/**
 * Verifies who signed an ID block. An author key counts as given where it is not all zero.
 * @throws CvmpError SIZE, UNSUPPORTED_ALGORITHM, MALFORMED, SIGNATURE_INVALID
 */
export async function verifyIdBlock(
  idBlock: Uint8Array,
  idAuth: Uint8Array,
): Promise<IdBlockSigners> {
  if (idBlock.length !== idBlockLength || idAuth.length !== idAuthLength) {
    const asked = `${idBlockLength} and ${idAuthLength} bytes`;
    throw new CvmpError('SIZE', `ID block and its authentication have ${asked}`);
  }
  const part = (offset: number, length: number) => idAuth.subarray(offset, offset + length);
  const idKey = part(auth.idKey, publicKeyLength);
  const authorKey = part(auth.authorKey, publicKeyLength);
  await requireSigned(
    idAuth,
    auth.idKeyAlgo,
    idKey,
    part(auth.idBlockSig, signatureLength),
    idBlock,
  );
  if (isZero(authorKey)) {
    return { idKeyDigest: crypto.hash('sha384', idKey), authorKeyDigest: undefined };
  }
  const idKeySig = part(auth.idKeySig, signatureLength);
  await requireSigned(idAuth, auth.authorKeyAlgo, authorKey, idKeySig, idKey);
  return {
    idKeyDigest: crypto.hash('sha384', idKey),
    authorKeyDigest: crypto.hash('sha384', authorKey),
  };
}

async function requireSigned(
  idAuth: Uint8Array,
  algoOffset: number,
  key: Uint8Array,
  signature: Uint8Array,
  data: Uint8Array,
): Promise<void> {
  const u32 = (bytes: Uint8Array, offset: number) =>
    new ByteReader(bytes, 'little', { offset }).u32('ID authentication');
  if (u32(idAuth, algoOffset) !== ecdsaP384Sha384 || u32(key, 0) !== curveP384) {
    throw new CvmpError('UNSUPPORTED_ALGORITHM', 'the ID block is not signed on P-384');
  }
  const point = concat(Uint8Array.of(4), bigEndian(key, 4), bigEndian(key, 4 + fieldLength));
  const raw = concat(bigEndian(signature, 0), bigEndian(signature, fieldLength));
  if (await crypto.verify('ES384', ecSpki('P-384', point), raw, data)) return;
  throw new CvmpError(
    'SIGNATURE_INVALID',
    'the ID block or its key is not signed by the key given',
  );
}

/** The 48 used bytes of a 72-byte field. @throws CvmpError MALFORMED where it does not fit */
function bigEndian(bytes: Uint8Array, offset: number): Uint8Array {
  const field = bytes.subarray(offset, offset + fieldLength);
  if (!isZero(field.subarray(scalarLength))) {
    throw new CvmpError('MALFORMED', 'a value of the ID authentication exceeds P-384');
  }
  return reversed(field.subarray(0, scalarLength));
}
