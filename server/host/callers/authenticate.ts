import type { X509Certificate } from 'node:crypto';
import type { EcPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { Caller } from '../handlers.js';
import { bearerTokens } from './bearer-token.js';
import { certificateCaller } from './client-certificate.js';
import { type OidcIssuer, oidcTokens } from './oidc.js';
import type { TenantRegistry } from './tenants.js';

/** What a call brings to show who makes it. */
export interface Credentials {
  /** The header `authorization`. */
  readonly authorization: string | undefined;
  /** The header `cvmp-tenant`: the tenant that a client certificate is to speak for. */
  readonly tenant: string | undefined;
  /** That of the connection, where its holder proved to have the key in the TLS handshake. */
  readonly certificate: () => X509Certificate | undefined;
}

/** Tells who calls. Rejects with CvmpError TOKEN_*, CLIENT_CERTIFICATE, TENANT_SUSPENDED. */
export type Authenticate = (credentials: Credentials) => Promise<Caller>;

export interface AuthenticatorOptions {
  /** Name of this server; a token for another one is refused. */
  readonly audience: string;
  /** Public keys of the operators, from the configuration. */
  readonly operatorKeys: readonly EcPublicKey[];
  /** OpenID Connect issuers, from the configuration. */
  readonly issuers: readonly OidcIssuer[];
  readonly tenants: Pick<TenantRegistry, 'get'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

const tokenCharactersMax = 6000;

/**
 * Three ways to show who one is, one outcome: a bearer token that one's own key signs (a CWT), a
 * bearer token of an OpenID Connect issuer (a JWT), or a client certificate and the name of the
 * tenant that it speaks for. A token goes before a certificate.
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  const cwt = bearerTokens(options);
  const jwt = oidcTokens(options);
  return async ({ authorization, tenant, certificate }) => {
    if (authorization !== undefined && authorization !== '') {
      const token = bearer(authorization);
      // A JWT has two dots (RFC 7515 s.7.1), a CWT in base64url none.
      return token.includes('.') ? jwt(token) : cwt(token);
    }
    if (tenant === undefined || tenant === '') {
      throw new CvmpError('TOKEN_MISSING', 'no authorization header, no tenant');
    }
    return certificateCaller(tenant, certificate(), options);
  };
}

function bearer(authorization: string): string {
  const match = /^bearer ([A-Za-z0-9_.-]+)$/i.exec(authorization);
  if (match?.[1] === undefined || match[1].length > tokenCharactersMax) {
    throw new CvmpError('TOKEN_INVALID', 'the authorization header is not a bearer token');
  }
  return match[1];
}
