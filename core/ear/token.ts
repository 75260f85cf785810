import { crypto } from '#crypto';
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '../bytes.js';
import type { CborValue } from '../cbor/value.js';
import { signingAlgorithm } from '../cose/algorithms.js';
import { label } from '../cose/headers.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from '../cose/key.js';
import { parseSign1, sign1, verifySign1 } from '../cose/sign1.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { decodeClaims, encodeClaims } from './claims-cbor.js';
import { parseJsonObject, readClaims, writeClaims } from './claims-json.js';
import type { Ear } from './ear.js';

/** Media types (RFC 9782). */
export const earType = { cwt: 'application/eat+cwt', jwt: 'application/eat+jwt' } as const;

export type EarForm = keyof typeof earType;

/** What a relying party demands of a signed EAR. */
export interface EarRulesOfTime {
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
  /** Seconds since it was issued; undefined: only its own expiry counts. */
  readonly ageSecondsMax: number | undefined;
  /** How far the verifier's clock may be ahead; 60 unless told. */
  readonly skewSeconds?: number;
}

/** Largest token, bytes: raw evidence may be inside. */
export const earBytesMax = 1 << 20;
const cwtTag = 61;
const skewDefault = 60;

/** JWT `typ` values that do not contradict an EAR (RFC 9782 s.5; RFC 7519 s.5.1). */
const jwtTypes: readonly unknown[] = [undefined, 'JWT', 'jwt', 'eat+jwt', 'application/eat+jwt'];
const cwtTypes: readonly unknown[] = [undefined, earType.cwt, 'application/cwt', 263];

/** A signed EAR, parsed; nothing in it is trusted. */
export interface SignedEar {
  readonly form: EarForm;
  readonly claims: Ear;
  /** What the signer calls its key; a hint. */
  readonly kid: Uint8Array | undefined;
  /** @throws CvmpError SIGNATURE_INVALID */
  verify(key: EcPublicKey): Promise<void>;
}

/** Signs an EAR as a CWT: a tagged COSE_Sign1, ES256 or ES384 by the key. */
export async function signCwt(key: EcPrivateKey, ear: Ear): Promise<Uint8Array> {
  const kid = thumbprint({ curve: key.curve, point: key.publicPoint });
  return sign1(key, encodeClaims(ear), {
    protected: new Map<number, CborValue>([
      [label.kid, kid],
      [label.typ, earType.cwt],
    ]),
  });
}

/** Signs an EAR as a JWT in compact form (RFC 7515 s.7.1), ES256 or ES384 by the key. */
export async function signJwt(key: EcPrivateKey, ear: Ear): Promise<Uint8Array> {
  const kid = thumbprint({ curve: key.curve, point: key.publicPoint });
  const header = {
    alg: signingAlgorithm(key.curve).name,
    typ: 'eat+jwt',
    kid: toBase64Url(kid),
  };
  const parts = [utf8(JSON.stringify(header)), writeClaims(ear)].map(toBase64Url);
  const signed = utf8(parts.join('.'));
  const signature = await crypto.sign(key, signed);
  return utf8(`${parts.join('.')}.${toBase64Url(signature)}`);
}

/** Whether bytes look like an EAR in either form. */
export function looksLikeEar(bytes: Uint8Array): boolean {
  const [first, second] = bytes;
  if (first === 0xd2 || (first === 0xd8 && second === cwtTag)) return true;
  // `{"` in base64url.
  return first === 0x65 && second === 0x79;
}

/**
 * Parses a signed EAR of either form, and judges its claims by themselves.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_ALGORITHM, UNKNOWN_CRITICAL
 */
export function parseEar(bytes: Uint8Array): SignedEar {
  if (bytes.length > earBytesMax) {
    throw new CvmpError('SIZE', `an EAR of ${bytes.length} bytes, at most ${earBytesMax}`, {
      field: 'ear',
    });
  }
  return bytes[0] === 0x65 ? parseJwt(bytes) : parseCwt(bytes);
}

function parseCwt(bytes: Uint8Array): SignedEar {
  // Tag 61 may stand around the message (RFC 8392 s.6).
  const inner = bytes[0] === 0xd8 && bytes[1] === cwtTag ? bytes.subarray(2) : bytes;
  const message = parseSign1(inner, { tag: 'optional', canonical: false });
  const { headers, payload } = message;
  if (!cwtTypes.includes(headers.protected.get(label.typ))) {
    throw malformed('the CWT is of another type', 'ear.typ');
  }
  if (payload === null) throw malformed('the EAR is detached', 'ear.payload');
  return {
    form: 'cwt',
    claims: decodeClaims(payload),
    kid: headers.protected.get(label.kid) as Uint8Array | undefined,
    verify: async (key) => void (await verifySign1(message, key)),
  };
}

const algorithms = { ES256: 'P-256', ES384: 'P-384' } as const;

function parseJwt(bytes: Uint8Array): SignedEar {
  const text = fromUtf8(bytes, 'ear').replace(/\r?\n$/, '');
  const parts = text.split('.');
  const [header, payload, signature] = parts.map((part) => fromBase64Url(part, 'ear'));
  if (parts.length !== 3 || header === undefined || signature === undefined) {
    throw malformed('the JWT has not three parts', 'ear');
  }
  const { alg, typ, kid, crit, b64 } = parseJsonObject(header, 'ear.header');
  // RFC 7515 s.4.1.11: nothing critical is understood here.
  if (crit !== undefined || b64 !== undefined) {
    throw new CvmpError('UNKNOWN_CRITICAL', 'the JWT has critical headers', { field: 'ear.crit' });
  }
  if (!jwtTypes.includes(typ)) throw malformed('the JWT is of another type', 'ear.typ');
  // `none`, HMAC and RSA are not looked at: the key is always one on a curve.
  if (alg !== 'ES256' && alg !== 'ES384') {
    throw new CvmpError('UNSUPPORTED_ALGORITHM', `JWT: no signature algorithm ${String(alg)}`, {
      field: 'ear.alg',
    });
  }
  const signed = utf8(text.slice(0, text.lastIndexOf('.')));
  return {
    form: 'jwt',
    claims: readClaims(payload!),
    kid: typeof kid === 'string' ? utf8(kid) : undefined,
    async verify(key) {
      const sound =
        key.curve === algorithms[alg] && (await crypto.verify(alg, key.spki, signature, signed));
      if (!sound) throw new CvmpError('SIGNATURE_INVALID', 'JWT: the signature does not verify');
    },
  };
}

function malformed(what: string, field: string): CvmpError {
  return new CvmpError('MALFORMED', what, { field });
}

/**
 * Verifies that one of the keys signed, and that the result is not too old.
 * @returns the key that signed
 * @throws CvmpError VERIFIER_UNTRUSTED, RESULT_STALE
 */
export async function verifyEar(
  ear: SignedEar,
  keys: readonly EcPublicKey[],
  time: EarRulesOfTime,
): Promise<EcPublicKey> {
  const key = await signerOf(ear, keys);
  requireFresh(ear.claims, time);
  return key;
}

async function signerOf(ear: SignedEar, keys: readonly EcPublicKey[]): Promise<EcPublicKey> {
  for (const key of keys) {
    try {
      await ear.verify(key);
      return key;
    } catch (error) {
      if (!(error instanceof CvmpError) || error.code !== 'SIGNATURE_INVALID') throw error;
    }
  }
  throw new CvmpError('VERIFIER_UNTRUSTED', 'no trusted verifier signed the EAR', {
    field: 'ear.signature',
  });
}

/** @throws CvmpError RESULT_STALE */
export function requireFresh({ issuedAt, expiresAt }: Ear, time: EarRulesOfTime): void {
  const now = Math.floor(time.at / 1000);
  const skew = time.skewSeconds ?? skewDefault;
  const stale = (why: string) =>
    new CvmpError('RESULT_STALE', `the EAR ${why}`, { field: 'ear.iat' });
  if (issuedAt > now + skew) throw stale(`was issued ${issuedAt - now} s in the future`);
  if (expiresAt !== undefined && expiresAt <= now) throw stale(`expired ${now - expiresAt} s ago`);
  const { ageSecondsMax } = time;
  if (ageSecondsMax !== undefined && now - issuedAt > ageSecondsMax) {
    throw stale(`is ${now - issuedAt} s old, at most ${ageSecondsMax}`);
  }
}

/** The public half of a signing key. */
export function publicKeyOf(key: EcPrivateKey): EcPublicKey {
  return ecPublicKey(key.curve, key.publicPoint);
}
