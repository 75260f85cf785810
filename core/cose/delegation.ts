import { encode } from '../cbor/encode.js';
import { asText, decodeMap } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import type { EcPrivateKey } from '../crypto.js';
import { coseKey, type EcPublicKey, readCoseKey } from './key.js';
import { demandQuorum, peekSigned, signTogether } from './quorum.js';

/** A tenant's word that the holder of another key may do some things for it (RFC 8747 `cnf`). */
export interface Delegation {
  /** The tenant that signs. */
  readonly iss: string;
  /** Who gets it, for the audit record. */
  readonly sub: string;
  /** The servers that it is for, by name. */
  readonly aud: readonly string[];
  /** Seconds since 1970. */
  readonly iat: number;
  /** Seconds since 1970. */
  readonly exp: number;
  /** `cti`: names it in a revocation, 16 bytes. */
  readonly id: Uint8Array;
  /** Roles and verbs. */
  readonly scope: readonly string[];
  /** `cnf`: the key that signs tokens under it. */
  readonly key: EcPublicKey;
}

const typ = 'application/cvmp-delegation+cwt';
const claim = { iss: 1, sub: 2, aud: 3, exp: 4, iat: 6, cti: 7, cnf: 8, scope: 9 } as const;
const cnfKey = 1;
const name = { min: 1, max: 256 };

/** Longest life of a delegation. */
export const delegationSecondsMax = 366 * 86_400;

/**
 * Signs a delegation: a CWT (RFC 8392) with `cnf` (RFC 8747), a tagged COSE_Sign1 with `typ`.
 * @throws TypeError where a scope word holds a space
 */
export function signDelegation(key: EcPrivateKey, delegation: Delegation): Promise<Uint8Array> {
  const { iss, sub, aud, exp, iat, id, scope } = delegation;
  if (scope.some((word) => word === '' || word.includes(' '))) {
    throw new TypeError('a scope is a word without spaces');
  }
  const claims: [number, CborValue][] = [
    [claim.iss, iss],
    [claim.sub, sub],
    [claim.aud, [...aud]],
    [claim.exp, exp],
    [claim.iat, iat],
    [claim.cti, id],
    [claim.cnf, new Map([[cnfKey, coseKey(delegation.key)]])],
    [claim.scope, scope.join(' ')],
  ];
  return signTogether([key], typ, encode(new Map(claims)));
}

/**
 * Verifies the signature of a delegation; whether it counts now is for the caller to judge.
 * @throws CvmpError SIGNATURE_INVALID, MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_ALGORITHM
 */
export async function openDelegation(
  bytes: Uint8Array,
  tenantKey: EcPublicKey,
): Promise<Delegation> {
  const rule = { signers: [tenantKey], threshold: 1 };
  return read((await demandQuorum(bytes, typ, rule)).payload);
}

/** What a delegation says, unverified. @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function peekDelegation(bytes: Uint8Array): Delegation {
  return read(peekSigned(bytes, typ).payload);
}

function read(payload: Uint8Array): Delegation {
  return decodeMap(payload, 'delegation', (m) => ({
    iss: m.text(claim.iss, 'iss', name),
    sub: m.text(claim.sub, 'sub', name),
    aud: m.array(claim.aud, 'aud', { min: 1, max: 16 }, (item, field) => asText(item, field, name)),
    exp: m.integer(claim.exp, 'exp'),
    iat: m.integer(claim.iat, 'iat'),
    id: m.bytes(claim.cti, 'cti', { length: 16 }),
    key: m.map(claim.cnf, 'cnf', (cnf) => readCoseKey(cnf.value(cnfKey, 'COSE_Key'), 'cnf')),
    scope: m.text(claim.scope, 'scope', { min: 1, max: 1024 }).split(' '),
  }));
}
