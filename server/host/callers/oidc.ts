import { readFileSync } from 'node:fs';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  errors,
  type FetchImplementation,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { Agent, fetch } from 'undici';
import { CvmpError } from '#core/errors.js';
import type { Caller } from '../handlers.js';
import type { AuthenticatorOptions } from './authenticate.js';
import { demandActive } from './tenant.js';
import { type Audience, type Verb, verbsOfScope } from './verbs.js';

/** Where the keys of an issuer come from. */
export type KeySource =
  | { readonly kind: 'file'; readonly file: string }
  /** `ca`: PEM certificates in place of the system's. */
  | { readonly kind: 'url'; readonly url: string; readonly ca: string | undefined };

/** An OpenID Connect issuer as the configuration names it. */
export interface OidcIssuer {
  /** `iss`, exactly. */
  readonly issuer: string;
  /** `aud`. */
  readonly audience: string;
  readonly keys: KeySource;
  /** For whom its tokens speak: tenants, or operators. */
  readonly speaksFor: Audience;
  /** The one tenant that it speaks for; undefined: the claim names it. */
  readonly tenant: string | undefined;
  readonly tenantClaim: string;
  /** Claim with a list of texts, or one text with spaces between. */
  readonly roleClaim: string;
  /** What each of its values allows: roles and verbs. */
  readonly roles: ReadonlyMap<string, readonly string[]>;
}

/** Asymmetric, and nothing weaker; `none` and HMAC are not in it. */
const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
const skewSeconds = 60;
/** Tokens older than this are refused, whatever they say of their end. */
const ageSecondsMax = 24 * 3600;

/** How keys are fetched: each bound is of the server, not of the issuer. */
export const jwksLimits = {
  timeoutMilliseconds: 5000,
  /** An unknown `kid` has the keys fetched again, but not more often than this. */
  cooldownMilliseconds: 30_000,
  cacheMilliseconds: 600_000,
  bytesMax: 256 * 1024,
} as const;

type Options = Pick<AuthenticatorOptions, 'issuers' | 'tenants' | 'now'>;

/**
 * Bearer tokens of OpenID Connect issuers: JWTs (RFC 7519, RFC 9068) whose issuer, audience, age and
 * signature are judged by jose, and whose claims the configuration maps to tenant and scope.
 * @returns a function that throws CvmpError TOKEN_INVALID, UNAVAILABLE (no keys), TENANT_SUSPENDED
 */
export function oidcTokens(options: Options): (token: string) => Promise<Caller> {
  const known = options.issuers.map((issuer) => ({ issuer, keys: keySource(issuer.keys) }));
  return async (token) => {
    const { payload, issuer } = await verify(token, known, options.now());
    const verbs = verbsOfRoles(issuer, payload);
    const actor = `oidc ${payload.sub}`;
    if (issuer.speaksFor === 'operator') return { role: 'operator', verbs, actor };
    const named = issuer.tenant ?? payload[issuer.tenantClaim];
    const tenant = typeof named === 'string' ? await options.tenants.get(named) : undefined;
    if (tenant === undefined) throw invalid('it names no tenant of this server');
    demandActive(tenant);
    return { role: 'tenant', tenantId: tenant.tenantId, verbs, actor };
  };
}

interface Known {
  readonly issuer: OidcIssuer;
  readonly keys: JWTVerifyGetKey;
}

async function verify(token: string, known: readonly Known[], now: number) {
  try {
    const { iss, aud } = decodeJwt(token);
    const audiences = [aud].flat();
    // One issuer may speak for tenants under one audience and for operators under another.
    const found = known.find(
      ({ issuer }) => issuer.issuer === iss && audiences.includes(issuer.audience),
    );
    if (found === undefined) throw invalid('its issuer and audience are none of the configuration');
    const { issuer, keys } = found;
    const { payload } = await jwtVerify(token, keys, {
      algorithms,
      issuer: issuer.issuer,
      audience: issuer.audience,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: skewSeconds,
      maxTokenAge: ageSecondsMax,
      currentDate: new Date(now),
    });
    return { payload, issuer };
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    if (isRefusal(cause)) throw invalid((cause as Error).message, cause);
    throw new CvmpError('UNAVAILABLE', 'the keys of the issuer cannot be had', { cause });
  }
}

/** What is wrong with the token itself, as against the way to the keys. */
function isRefusal(cause: unknown): boolean {
  const way = [errors.JWKSTimeout, errors.JWKSInvalid, errors.JWKInvalid] as const;
  if (way.some((kind) => cause instanceof kind)) return false;
  // jose says so of an answer that is no key set at all.
  const isPlain = cause instanceof errors.JOSEError && cause.code === 'ERR_JOSE_GENERIC';
  return cause instanceof errors.JOSEError && !isPlain;
}

/** @throws CvmpError TOKEN_INVALID where no role of the token is of the configuration */
function verbsOfRoles(issuer: OidcIssuer, payload: JWTPayload): ReadonlySet<Verb> {
  const claim = payload[issuer.roleClaim];
  const roles = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  const scope = roles.flatMap((role) => issuer.roles.get(String(role)) ?? []);
  if (scope.length === 0) throw invalid(`${issuer.roleClaim} holds no role of the configuration`);
  return verbsOfScope(issuer.speaksFor, scope);
}

/** @throws CvmpError CONFIG where the file is no key set */
function keySource(source: KeySource): JWTVerifyGetKey {
  if (source.kind === 'file') return fileKeys(source.file);
  const { bytesMax, timeoutMilliseconds, cooldownMilliseconds, cacheMilliseconds } = jwksLimits;
  const connect = source.ca === undefined ? {} : { ca: source.ca };
  const dispatcher = new Agent({ connect, maxResponseSize: bytesMax, connections: 1 });
  const bounded = (url: string, init: object) => fetch(url, { ...init, dispatcher });
  return createRemoteJWKSet(new URL(source.url), {
    timeoutDuration: timeoutMilliseconds,
    cooldownDuration: cooldownMilliseconds,
    cacheMaxAge: cacheMilliseconds,
    [customFetch]: bounded as unknown as FetchImplementation,
  });
}

function fileKeys(file: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(JSON.parse(readFileSync(file, 'utf8')) as JSONWebKeySet);
  } catch (cause) {
    throw new CvmpError('CONFIG', `${file} is not a JSON Web Key Set`, { cause });
  }
}

function invalid(what: string, cause?: unknown): CvmpError {
  return new CvmpError('TOKEN_INVALID', `token: ${what}`, { cause });
}
