import { encode } from '../cbor/encode.js';
import { decodeMap, type MapReader } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { kidOf, label } from './headers.js';
import { type EcPublicKey, thumbprint } from './key.js';
import { parseSign1, sign1, verifySign1 } from './sign1.js';

/** Claims of a CVMP bearer token (RFC 8392 s.3.1; scope: RFC 9200, space separated). */
export interface CwtClaims {
  /** Who signed: a tenant id. */
  readonly iss: string;
  /** On whose behalf, for the audit record. */
  readonly sub: string;
  /** The one server that the token is for. */
  readonly aud: string;
  /** Seconds since 1970. */
  readonly exp: number;
  /** Seconds since 1970. */
  readonly iat: number;
  /** Seconds since 1970; not given means iat. */
  readonly nbf?: number;
  /** Unique per token, 16 bytes. */
  readonly cti: Uint8Array;
  /** What the bearer may do; words without spaces. */
  readonly scope: readonly string[];
  /** By which the issuer lets another key sign this (delegation.ts); undefined: it signed itself. */
  readonly delegation?: Uint8Array;
}

export interface CwtRules {
  /** Seconds since 1970. */
  readonly nowSeconds: number;
  readonly audience: string;
  /** exp - iat at most. */
  readonly lifetimeSecondsMax: number;
  /** How far the signer's clock may be off; 60 unless told. */
  readonly skewSeconds?: number;
}

/** The media type in `typ` (RFC 9596), so that no other signed object passes as a token. */
const tokenType = 'application/cvmp-token+cwt';
const skewDefault = 60;
const textRule = { min: 1, max: 256 };
const claim = {
  iss: 1,
  sub: 2,
  aud: 3,
  exp: 4,
  nbf: 5,
  iat: 6,
  cti: 7,
  scope: 9,
  // For private use (RFC 8392 s.9.1).
  delegation: -70_001,
} as const;
const tokenBytesMax = 4096;

/**
 * Signs a token: a tagged COSE_Sign1 with `typ`, and `kid` = thumbprint of the signer.
 * @throws TypeError where a scope word holds a space
 */
export async function mintCwt(key: EcPrivateKey, claims: CwtClaims): Promise<Uint8Array> {
  if (claims.scope.some((word) => word === '' || word.includes(' '))) {
    throw new TypeError('a scope is a word without spaces');
  }
  const payload = new Map<number, CborValue>([
    [claim.iss, claims.iss],
    [claim.sub, claims.sub],
    [claim.aud, claims.aud],
    [claim.exp, claims.exp],
    [claim.iat, claims.iat],
    [claim.cti, claims.cti],
    [claim.scope, claims.scope.join(' ')],
  ]);
  if (claims.nbf !== undefined) payload.set(claim.nbf, claims.nbf);
  if (claims.delegation !== undefined) payload.set(claim.delegation, claims.delegation);
  return sign1(key, encode(payload), {
    protected: new Map<number, CborValue>([
      [label.kid, thumbprint({ curve: key.curve, point: key.publicPoint })],
      [label.typ, tokenType],
    ]),
  });
}

/** The key that may sign for an issuer; what it gets is not verified yet. undefined: none. */
export type ResolveKey = (
  claims: CwtClaims,
  kid: Uint8Array,
) => EcPublicKey | undefined | Promise<EcPublicKey | undefined>;

/**
 * Verifies a token. `resolveKey` gets the unverified claims and the key's thumbprint and gives the
 * key that the issuer registered or delegated to, or undefined.
 * @throws CvmpError TOKEN_INVALID for every reason; `cause` and message tell which; what
 *   `resolveKey` throws
 */
export async function verifyCwt(
  bytes: Uint8Array,
  resolveKey: ResolveKey,
  rules: CwtRules,
): Promise<CwtClaims> {
  let unresolved: unknown;
  const resolved = async (claims: CwtClaims, kid: Uint8Array) => {
    try {
      return await resolveKey(claims, kid);
    } catch (error) {
      // That the registry could not be asked says nothing of the token.
      unresolved = error;
      throw error;
    }
  };
  try {
    const message = parseSign1(bytes, { typ: tokenType, maxBytes: tokenBytesMax });
    if (message.payload === null) throw invalid('no payload');
    const claims = decodeMap(message.payload, 'token', readClaims);
    const kid = kidOf(message.headers);
    const key = kid === undefined ? undefined : await resolved(claims, kid);
    if (key === undefined) throw invalid('the issuer has no such key');
    await verifySign1(message, key);
    judgeTimes(claims, rules);
    return claims;
  } catch (cause) {
    if (cause === unresolved || !(cause instanceof CvmpError)) throw cause;
    if (cause.code === 'TOKEN_INVALID') throw cause;
    throw new CvmpError('TOKEN_INVALID', `token: ${cause.message}`, { cause });
  }
}

function invalid(what: string): CvmpError {
  return new CvmpError('TOKEN_INVALID', `token: ${what}`);
}

function readClaims(m: MapReader): CwtClaims {
  const nbf = m.optional(claim.nbf, () => m.integer(claim.nbf, 'nbf'));
  const scope = m.text(claim.scope, 'scope', { max: 1024 });
  const delegation = m.optional(claim.delegation, () =>
    m.bytes(claim.delegation, 'delegation', { max: 2048 }),
  );
  return {
    iss: m.text(claim.iss, 'iss', textRule),
    sub: m.text(claim.sub, 'sub', textRule),
    aud: m.text(claim.aud, 'aud', textRule),
    exp: m.integer(claim.exp, 'exp'),
    iat: m.integer(claim.iat, 'iat'),
    ...(nbf === undefined ? {} : { nbf }),
    cti: m.bytes(claim.cti, 'cti', { length: 16 }),
    scope: scope === '' ? [] : scope.split(' '),
    ...(delegation === undefined ? {} : { delegation }),
  };
}

function judgeTimes(claims: CwtClaims, rules: CwtRules): void {
  const skew = rules.skewSeconds ?? skewDefault;
  if (claims.aud !== rules.audience) throw invalid(`for another audience (${claims.aud})`);
  if (claims.exp <= claims.iat) throw invalid('expires before it was issued');
  if (claims.exp - claims.iat > rules.lifetimeSecondsMax) {
    throw invalid(`lives longer than ${rules.lifetimeSecondsMax} s`);
  }
  if (rules.nowSeconds >= claims.exp + skew) throw invalid('expired');
  if (rules.nowSeconds + skew < Math.max(claims.iat, claims.nbf ?? 0))
    throw invalid('not yet valid');
}
