import { crypto } from '#crypto';
import { equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import { asBytes } from '../cbor/read.js';
import { label } from '../cose/headers.js';
import { coseKey, decodeCoseKey, type EcPublicKey, encodeCoseKey } from '../cose/key.js';
import { type CoseSign1, parseSign1, sign1, verifySign1 } from '../cose/sign1.js';
import type { EcPrivateKey, HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';
import type { Claims } from '../rats/claims.js';
import { type CmwCollection, type CmwRecord, cmwIndicator } from '../rats/cmw.js';
import type { EndorsementDocument, Endorsements } from '../rats/endorsements.js';
import type { Ear, EarAppraisal } from './ear.js';
import { earType, parseEar, type SignedEar, verifyEar } from './token.js';

/** An Attestation Result that an agent shows instead of evidence, with what binds it to the session. */
export interface Passport {
  readonly ear: SignedEar;
  /** Made by the confirmation key over this session's Binding; undefined: the EAR's nonce is it. */
  readonly proof: CoseSign1 | undefined;
}

/** What a verified passport says. */
export interface EarClaims extends Claims {
  readonly format: 'ear';
  readonly ear: Ear;
  /** Key of the verifier that signed. */
  readonly verifierKey: EcPublicKey;
  /** When it was verified, milliseconds since 1970. */
  readonly evaluatedAt: number;
}

const records = { ear: 'ear', proof: 'ear-proof' } as const;
const proofType = 'application/cvmp-ear-proof+cose';
/** `typ` of the proof: nothing else that the agent signs passes for one. */
const proofTyp = 'application/cvmp-ear-proof';
const reportDataLength = 64;

/** Media type of the statement by which a Key Server names a verifier whose results count. */
export const verifierKeyType = 'application/vnd.cvmp.ear-verifier-key+cbor';

/** A key that the policy at hand admits as a verifier's. Never taken from evidence. */
export function verifierKeyDocument(key: EcPublicKey): EndorsementDocument {
  return { mediaType: verifierKeyType, value: encodeCoseKey(key) };
}

/**
 * Proves that the holder of the confirmation key presents the result in this session.
 * @param reportData 64 bytes: SHA-512 of the session's Binding
 */
export function signProof(key: EcPrivateKey, reportData: Uint8Array): Promise<Uint8Array> {
  return sign1(key, reportData, { protected: new Map([[label.typ, proofTyp]]) });
}

/**
 * What evidence must be made over for a verifier to name `key` as the confirmation key: SHA-512 over
 * the deterministic CBOR of [label, COSE_Key]. The label keeps it out of sessions.
 * @returns 64 bytes
 */
export function confirmationReportData(key: EcPublicKey): Uint8Array {
  return crypto.hash('sha512', encode(['CVMP/1 ear-key', coseKey(key)]));
}

/** The collection of an agent that shows a result (draft-ietf-rats-msg-wrap). */
export function passportCollection(ear: Uint8Array, proof?: Uint8Array): CmwCollection {
  const { form } = parseEar(ear);
  const collection = new Map<string, CmwRecord>([
    [
      records.ear,
      { mediaType: earType[form], value: ear, indicator: cmwIndicator.attestationResults },
    ],
  ]);
  if (proof !== undefined) {
    const indicator = cmwIndicator.evidence;
    collection.set(records.proof, { mediaType: proofType, value: proof, indicator });
  }
  return collection;
}

/** Whether a collection shows a result and nothing else. */
export function isPassport(collection: CmwCollection): boolean {
  return collection.has(records.ear);
}

/** @throws CvmpError UNSUPPORTED_EVIDENCE, and the codes of parseEar */
export function parsePassport(collection: CmwCollection): Passport {
  for (const name of collection.keys()) {
    if (name === records.ear || name === records.proof) continue;
    // Evidence beside a result would be evidence that nobody looks at.
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `an EAR together with ${name}`, { field: name });
  }
  const record = collection.get(records.ear)!;
  const form = record.mediaType.split(';')[0]!.trim();
  const isResult =
    record.indicator === cmwIndicator.attestationResults &&
    (form === earType.cwt || form === earType.jwt);
  if (!isResult) {
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `${record.mediaType} is no Attestation Result`, {
      field: records.ear,
    });
  }
  const ear = parseEar(record.value);
  if (earType[ear.form] !== form) {
    throw new CvmpError('MALFORMED', `the EAR is not of type ${form}`, { field: records.ear });
  }
  const proof = collection.get(records.proof);
  if (proof === undefined) return { ear, proof: undefined };
  if (proof.mediaType !== proofType) {
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `${proof.mediaType} is no proof`, {
      field: records.proof,
    });
  }
  return { ear, proof: parseSign1(proof.value, { typ: proofTyp, maxBytes: 4096 }) };
}

/**
 * Verifies who made the result, that it is of now, and what it is bound to: its nonce, or what its
 * confirmation key signed. Whether that is this session's Binding is asked of all evidence alike.
 * @throws CvmpError VERIFIER_UNTRUSTED, RESULT_STALE, SIGNATURE_INVALID, BINDING_MISMATCH,
 *   CONFIG_MISMATCH
 */
export async function verifyPassport(
  { ear, proof }: Passport,
  endorsements: Endorsements,
  at: number,
): Promise<EarClaims> {
  const keys = (endorsements.documents ?? [])
    .filter(({ mediaType }) => mediaType === verifierKeyType)
    .map(({ value }) => decodeCoseKey(value, 'verifier_key'));
  const verifierKey = await verifyEar(ear, keys, { at, ageSecondsMax: undefined });
  const { claims } = ear;
  const appraisals = [...claims.submods.values()];
  const stated = appraisals.map(({ cvmp }) => cvmp);
  return {
    format: 'ear',
    simulated: stated.some((one) => one?.simulated ?? false),
    reportData: await boundTo(claims, appraisals, proof),
    configBinding: configBindingOf(appraisals),
    launchMeasurement: stated[0]?.launchMeasurement ?? new Uint8Array(),
    instanceId: undefined,
    chipId: undefined,
    ear: claims,
    verifierKey,
    evaluatedAt: at,
  };
}

/** By length; formats that hold less than 64 bytes hold a hash of them. */
const hashes: Readonly<Record<number, HashName>> = { 32: 'sha256', 48: 'sha384', 64: 'sha512' };

/** A result without either would be good in any session, and in anybody's. */
async function boundTo(
  { nonces, confirmationKey }: Ear,
  appraisals: readonly EarAppraisal[],
  proof: CoseSign1 | undefined,
): Promise<Uint8Array> {
  if (proof !== undefined) {
    if (confirmationKey === undefined) {
      throw new CvmpError('BINDING_MISMATCH', 'the EAR names no key that the proof could be by', {
        field: 'ear.cnf',
      });
    }
    const payload = await verifySign1(proof, confirmationKey);
    return asBytes(payload, 'ear-proof', { length: reportDataLength });
  }
  // A key that is named is to be used: whoever has the EAR alone shall have nothing.
  if (confirmationKey !== undefined) {
    throw new CvmpError('BINDING_MISMATCH', 'the EAR names a key, and nothing is signed by it', {
      field: 'ear-proof',
    });
  }
  const all = [...nonces, ...appraisals.flatMap((one) => one.nonces)];
  // The Binding whole before a hash of it: a shorter nonce may be of another kind.
  const nonce = [64, 48, 32].flatMap((size) => all.filter(({ length }) => length === size))[0];
  // Evidence of another session beside evidence of this one is still of another session.
  const stray = appraisals.find(({ nonces: own }) => !isOver(own, nonce));
  if (nonce !== undefined && stray === undefined) return nonce;
  throw new CvmpError('BINDING_MISMATCH', 'the EAR is over no nonce of a session', {
    field: 'ear.eat_nonce',
  });
}

/** Whether evidence over these nonces is over this one, or says nothing of it. */
function isOver(own: readonly Uint8Array[], nonce: Uint8Array | undefined): boolean {
  const ofSessions = own.filter(({ length }) => hashes[length] !== undefined);
  if (nonce === undefined || ofSessions.length === 0) return true;
  return ofSessions.some((one) => {
    const hash = hashes[one.length];
    const isHash = hash !== undefined && equalBytes(one, crypto.hash(hash, nonce));
    return equalBytes(one, nonce) || isHash;
  });
}

/** The verifier must say what config document the hardware binds: the tenant is read from it. */
function configBindingOf(appraisals: readonly EarAppraisal[]): Claims['configBinding'] {
  const [digest, ...more] = appraisals.flatMap(({ cvmp }) =>
    cvmp === undefined ? [] : [cvmp.configDigest],
  );
  const hash = hashes[digest?.length ?? 0];
  if (digest === undefined || hash === undefined) {
    throw new CvmpError('CONFIG_MISMATCH', 'the EAR does not say what config document was bound', {
      field: 'ear.cvmp.config-digest',
    });
  }
  if (more.some((other) => !equalBytes(other, digest))) {
    throw new CvmpError('CONFIG_MISMATCH', 'the EAR is of CVMs with different config documents', {
      field: 'ear.cvmp.config-digest',
    });
  }
  return { field: 'EAR', hash, digest };
}
