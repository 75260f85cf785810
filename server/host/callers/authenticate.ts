import { equalBytes, fromBase64Url } from '#core/bytes.js';
import { type CwtClaims, verifyCwt } from '#core/cose/cwt.js';
import { type EcPublicKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { Caller } from '../handlers.js';
import type { TenantRegistry } from './tenants.js';
import { type Audience, type Verb, verbsOfScope } from './verbs.js';

export interface AuthenticatorOptions {
  /** Name of this server; a token for another one is refused. */
  readonly audience: string;
  /** Public keys of the operators, from the configuration. */
  readonly operatorKeys: readonly EcPublicKey[];
  readonly tenants: Pick<TenantRegistry, 'get'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Tells who calls from the `authorization` header. */
export type Authenticate = (authorization: string | undefined) => Promise<Caller>;

/** The issuer in operators' tokens; no tenant can have this name and key. */
const operatorIssuer = 'operator';
const tokenCharactersMax = 6000;
const lifetimeSecondsMax = 3600;
const verifiedMax = 1024;

interface Verified {
  readonly caller: Caller;
  readonly expiresMs: number;
  /** The key that signed, to notice when the tenant's registration changes. */
  readonly kid: Uint8Array;
}

/**
 * Bearer tokens are CWTs (RFC 8392) signed by the tenant's registered key or by an operator's.
 * A verified token is remembered until it expires, so that a busy client costs one signature
 * verification an hour; the key behind it is looked up at every call.
 * @returns a function that throws CvmpError TOKEN_MISSING, TOKEN_INVALID
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  const operators = options.operatorKeys.map((key) => ({ key, kid: thumbprint(key) }));
  const verified = new Map<string, Verified>();

  async function keyOf(issuer: string, kid: Uint8Array): Promise<EcPublicKey | undefined> {
    if (issuer === operatorIssuer) return operators.find((o) => equalBytes(o.kid, kid))?.key;
    const tenant = await options.tenants.get(issuer);
    if (tenant === undefined || !equalBytes(tenant.thumbprint, kid)) return undefined;
    return tenant.publicKey;
  }

  async function remembered(token: string): Promise<Caller | undefined> {
    const entry = verified.get(token);
    if (entry === undefined) return undefined;
    const issuer = entry.caller.role === 'tenant' ? entry.caller.tenantId : operatorIssuer;
    const alive = options.now() < entry.expiresMs && (await keyOf(issuer, entry.kid)) !== undefined;
    if (!alive) verified.delete(token);
    return alive ? entry.caller : undefined;
  }

  async function verify(token: string): Promise<Caller> {
    let kid: Uint8Array = new Uint8Array();
    const claims = await verifyCwt(
      tokenBytes(token),
      (issuer, given) => {
        kid = given;
        return keyOf(issuer, given);
      },
      {
        nowSeconds: Math.floor(options.now() / 1000),
        audience: options.audience,
        lifetimeSecondsMax,
      },
    );
    const caller = callerOf(claims);
    const oldest = verified.keys().next();
    if (verified.size >= verifiedMax && !oldest.done) verified.delete(oldest.value);
    verified.set(token, { caller, expiresMs: claims.exp * 1000, kid });
    return caller;
  }

  return async (authorization) => {
    const token = bearer(authorization);
    return (await remembered(token)) ?? (await verify(token));
  };
}

function bearer(authorization: string | undefined): string {
  if (authorization === undefined || authorization === '') {
    throw new CvmpError('TOKEN_MISSING', 'no authorization header');
  }
  const match = /^bearer ([A-Za-z0-9_-]+)$/i.exec(authorization);
  if (match?.[1] === undefined || match[1].length > tokenCharactersMax) {
    throw new CvmpError('TOKEN_INVALID', 'the authorization header is not a bearer token');
  }
  return match[1];
}

function tokenBytes(token: string): Uint8Array {
  try {
    return fromBase64Url(token);
  } catch (cause) {
    throw new CvmpError('TOKEN_INVALID', 'the token is not base64url', { cause });
  }
}

/** The role follows from the issuer, what it may do from the scope. */
function callerOf(claims: CwtClaims): Caller {
  const role = claims.iss === operatorIssuer ? 'operator' : 'tenant';
  if (claims.sub !== claims.iss) {
    throw new CvmpError('TOKEN_INVALID', 'token: issued on behalf of somebody else');
  }
  const verbs = verbsOfToken(role, claims.scope);
  return role === 'operator'
    ? { role, verbs, actor: 'key' }
    : { role, tenantId: claims.iss, verbs, actor: 'key' };
}

function verbsOfToken(audience: Audience, scope: readonly string[]): ReadonlySet<Verb> {
  try {
    return verbsOfScope(audience, scope);
  } catch (cause) {
    throw new CvmpError('TOKEN_INVALID', `token: ${(cause as Error).message}`, { cause });
  }
}
