import { readFile } from 'node:fs/promises';
import { toBase64Url } from '#core/bytes.js';
import { mintCwt } from '#core/cose/cwt.js';
import { peekDelegation } from '#core/cose/delegation.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { readKeyFile } from './key-file.js';
import type { Profile } from './profile.js';

/** In whose name a call is made. */
export type Caller = 'tenant' | 'operator';

/** Who signs the tokens of a caller. */
export interface Speaker {
  readonly caller: Caller;
  readonly key: EcPrivateKey;
  /** Tenant id, or `operator`. */
  readonly issuer: string;
  /** The same, or the delegate's name. */
  readonly subject: string;
  /** By which the tenant lets this key speak; undefined: it is the tenant's own. */
  readonly delegation: Uint8Array | undefined;
}

/** Seconds that a token lives which a command mints for its own calls. */
const tokenSeconds = 300;

/** The key that signs for the caller, and its issuer name. @throws CvmpError CONFIG, USAGE */
export async function callerKey(
  profile: Profile,
  caller: Caller,
): Promise<{ readonly key: EcPrivateKey; readonly issuer: string }> {
  const file = caller === 'tenant' ? profile.tenantKey : profile.operatorKey;
  const issuer = caller === 'tenant' ? profile.tenant : 'operator';
  if (file === undefined || issuer === undefined) {
    const why = `${profile.file} names no ${caller}_key: this profile is not that of ${caller === 'operator' ? 'an operator' : 'a tenant'}`;
    throw new CvmpError('CONFIG', why, { field: `${caller}_key` });
  }
  return { key: await readKeyFile(file), issuer };
}

/** Who speaks for the caller of a profile: its own key, or a delegate. @throws CvmpError */
export async function speakerOf(profile: Profile, caller: Caller): Promise<Speaker> {
  const { delegation, delegateKey } = profile;
  if (caller === 'tenant' && profile.tenantKey === undefined && delegation !== undefined) {
    if (delegateKey !== undefined) return delegateSpeaker(delegation, delegateKey);
    const why = `${profile.file} names a delegation and no delegate_key`;
    throw new CvmpError('CONFIG', why, { field: 'delegate_key' });
  }
  const { key, issuer } = await callerKey(profile, caller);
  return { caller, key, issuer, subject: issuer, delegation: undefined };
}

/** A delegate, by the files of its delegation and key. @throws CvmpError USAGE, MALFORMED */
export async function delegateSpeaker(file: string, keyFile: string): Promise<Speaker> {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await readFile(file));
  } catch (cause) {
    const why = `cannot read the delegation ${file}: ${(cause as Error).message}`;
    throw new CvmpError('USAGE', why, { cause });
  }
  const { iss, sub } = peekDelegation(bytes);
  const key = await readKeyFile(keyFile);
  return { caller: 'tenant', key, issuer: iss, subject: sub, delegation: bytes };
}

/**
 * A bearer token for one server: a CWT that the caller's key signs.
 * @param scope roles and verbs; all that the speaker may unless told
 * @param lifetimeSeconds at most 3600
 */
export async function mintToken(
  { caller, key, issuer, subject, delegation }: Speaker,
  audience: string,
  nowMs: number,
  { scope = [caller] as readonly string[], lifetimeSeconds = tokenSeconds } = {},
): Promise<string> {
  const now = Math.floor(nowMs / 1000);
  const claims = {
    iss: issuer,
    sub: subject,
    aud: audience,
    exp: now + lifetimeSeconds,
    iat: now,
    cti: crypto.randomBytes(16),
    scope,
    ...(delegation === undefined ? {} : { delegation }),
  };
  return toBase64Url(await mintCwt(key, claims));
}
