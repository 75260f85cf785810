import { equalBytes, fromBase64Url } from '#core/bytes.js';
import { type CwtClaims, verifyCwt } from '#core/cose/cwt.js';
import { type Delegation, delegationSecondsMax, openDelegation } from '#core/cose/delegation.js';
import { type EcPublicKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { Caller } from '../handlers.js';
import type { AuthenticatorOptions } from './authenticate.js';
import { demandActive, type Tenant } from './tenant.js';
import { type Audience, commonVerbs, type Verb, verbsOfScope } from './verbs.js';

/** The issuer in operators' tokens; no tenant can have this name and key. */
const operatorIssuer = 'operator';
const lifetimeSecondsMax = 3600;
const verifiedMax = 1024;
const skewSeconds = 60;

/** Who signed a token, as far as it is verified. */
interface Signer {
  readonly key: EcPublicKey;
  readonly tenant: Tenant | undefined;
  readonly delegation: Delegation | undefined;
}

interface Verified {
  readonly caller: Caller;
  readonly expiresMs: number;
  readonly issuer: string;
  /** The registered key behind it, to notice when the registration changes. */
  readonly kid: Uint8Array;
  readonly delegation: Delegation | undefined;
}

type Options = Pick<AuthenticatorOptions, 'audience' | 'operatorKeys' | 'tenants' | 'now'>;

/**
 * Bearer tokens that are CWTs (RFC 8392), signed by the tenant's registered key, by a key that this
 * one delegated to, or by an operator's. A verified token is remembered until it expires, so that a
 * busy client costs one signature verification an hour; registration, suspension and revocations
 * are looked at in every call.
 * @returns a function that throws CvmpError TOKEN_INVALID, TENANT_SUSPENDED
 */
export function bearerTokens(options: Options): (token: string) => Promise<Caller> {
  const operators = options.operatorKeys.map((key) => ({ key, kid: thumbprint(key) }));
  const verified = new Map<string, Verified>();
  const seconds = () => Math.floor(options.now() / 1000);

  const operatorKey = (kid: Uint8Array) => operators.find((o) => equalBytes(o.kid, kid))?.key;

  /** Not verified yet: whose key would have to have signed this. */
  async function signerOf(claims: CwtClaims, kid: Uint8Array): Promise<Signer | undefined> {
    if (claims.iss === operatorIssuer) {
      const key = operatorKey(kid);
      return key && { key, tenant: undefined, delegation: undefined };
    }
    const tenant = await options.tenants.get(claims.iss);
    if (tenant === undefined) return undefined;
    if (claims.delegation === undefined) {
      if (!equalBytes(tenant.thumbprint, kid)) return undefined;
      return { key: tenant.publicKey, tenant, delegation: undefined };
    }
    const delegation = await delegationIn(claims.delegation, tenant.publicKey);
    if (!equalBytes(thumbprint(delegation.key), kid)) return undefined;
    judgeDelegation(delegation, tenant, options.audience, seconds());
    return { key: delegation.key, tenant, delegation };
  }

  async function verify(token: string): Promise<Caller> {
    let signer: Signer | undefined;
    const find = async (claims: CwtClaims, kid: Uint8Array) => {
      signer = await signerOf(claims, kid);
      return signer?.key;
    };
    const claims = await verifyCwt(tokenBytes(token), find, {
      nowSeconds: seconds(),
      audience: options.audience,
      lifetimeSecondsMax,
      skewSeconds,
    });
    const { key, tenant, delegation } = signer!;
    const caller = callerOf(claims, delegation);
    if (tenant !== undefined) demandActive(tenant);
    const ends = Math.min(claims.exp, delegation?.exp ?? claims.exp);
    const kid = tenant?.thumbprint ?? thumbprint(key);
    const entry = { caller, expiresMs: ends * 1000, issuer: claims.iss, kid, delegation };
    const oldest = verified.keys().next();
    if (verified.size >= verifiedMax && !oldest.done) verified.delete(oldest.value);
    verified.set(token, entry);
    return caller;
  }

  /** Whether what a remembered token stands on still stands. */
  async function stands({ issuer, kid, delegation }: Verified): Promise<boolean> {
    if (issuer === operatorIssuer) return operatorKey(kid) !== undefined;
    const tenant = await options.tenants.get(issuer);
    if (tenant === undefined || !equalBytes(tenant.thumbprint, kid)) return false;
    demandActive(tenant);
    return delegation === undefined || !isRevoked(delegation, tenant);
  }

  return async (token) => {
    const entry = verified.get(token);
    if (entry !== undefined && options.now() < entry.expiresMs && (await stands(entry))) {
      return entry.caller;
    }
    verified.delete(token);
    return verify(token);
  };
}

/** What is wrong with a delegation is wrong with the token. @throws CvmpError TOKEN_INVALID */
async function delegationIn(signed: Uint8Array, by: EcPublicKey): Promise<Delegation> {
  try {
    return await openDelegation(signed, by);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw invalid(cause.message, cause);
  }
}

/** @throws CvmpError TOKEN_INVALID */
function judgeDelegation(
  delegation: Delegation,
  tenant: Tenant,
  audience: string,
  now: number,
): void {
  const { iss, aud, iat, exp } = delegation;
  if (iss !== tenant.tenantId) throw invalid('the delegation is of another tenant');
  if (!aud.includes(audience)) throw invalid('the delegation is for other servers');
  if (exp <= iat || exp - iat > delegationSecondsMax) {
    throw invalid(`the delegation does not live between 1 and ${delegationSecondsMax} s`);
  }
  if (now >= exp + skewSeconds) throw invalid('the delegation is over');
  if (now + skewSeconds < iat) throw invalid('the delegation is not valid yet');
  if (isRevoked(delegation, tenant)) throw invalid('the delegation was revoked');
}

function isRevoked({ id, iat }: Delegation, { delegations }: Tenant): boolean {
  return iat < delegations.notBefore || delegations.revoked.some((one) => equalBytes(one.id, id));
}

/** The role follows from the issuer, what it may do from the scopes. */
function callerOf(claims: CwtClaims, delegation: Delegation | undefined): Caller {
  if (claims.sub !== (delegation?.sub ?? claims.iss)) {
    throw invalid('issued on behalf of somebody else');
  }
  if (claims.iss === operatorIssuer) {
    return { role: 'operator', verbs: verbsOf('operator', claims.scope), actor: 'key' };
  }
  const asked = verbsOf('tenant', claims.scope);
  const verbs =
    delegation === undefined ? asked : commonVerbs(asked, verbsOf('tenant', delegation.scope));
  const actor = delegation === undefined ? 'key' : `delegate ${delegation.sub}`;
  return { role: 'tenant', tenantId: claims.iss, verbs, actor };
}

function verbsOf(audience: Audience, scope: readonly string[]): ReadonlySet<Verb> {
  try {
    return verbsOfScope(audience, scope);
  } catch (cause) {
    throw invalid((cause as Error).message, cause);
  }
}

function tokenBytes(token: string): Uint8Array {
  try {
    return fromBase64Url(token);
  } catch (cause) {
    throw invalid('it is not base64url', cause);
  }
}

function invalid(what: string, cause?: unknown): CvmpError {
  return new CvmpError('TOKEN_INVALID', `token: ${what}`, { cause });
}
