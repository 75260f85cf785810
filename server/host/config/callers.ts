import { fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { KeySource, OidcIssuer } from '../callers/oidc.js';
import type { RateSettings } from '../callers/rates.js';
import { verbsOfScope } from '../callers/verbs.js';
import type { ClientCertificates } from '../tls.js';
import { readNamedFile } from './files.js';
import type { ConfigReader } from './reader.js';

/** How callers may show who they are, beside the tokens that their own keys sign. */
export interface CallerSettings {
  readonly clientCertificates: ClientCertificates;
  readonly oidc: readonly OidcSettings[];
  readonly rates: RateSettings;
}

type FileOfCa = { readonly kind: 'url'; readonly url: string; readonly caFile: string | undefined };

/** An issuer, its files not read yet. */
export type OidcSettings = Omit<OidcIssuer, 'keys'> & {
  readonly keys: Extract<KeySource, { kind: 'file' }> | FileOfCa;
};

const issuersMax = 16;
const rolesMax = 64;
const names = { max: 32 };

/** @param serverName the audience where an issuer names none; @throws CvmpError CONFIG */
export function readCallers(callers: ConfigReader, serverName: string): CallerSettings {
  return {
    rates: readRates(callers),
    clientCertificates: callers.choice('client_certificates', ['none', 'grpc', 'both'], {
      default: 'grpc',
      why: 'browsers would ask their users for one on the web port',
    }),
    oidc: callers.sections(
      'oidc',
      { max: issuersMax, why: 'callers sign their own tokens', live: true },
      (issuer) => readIssuer(issuer, serverName),
    ),
  };
}

function readRates(callers: ConfigReader): RateSettings {
  const rate = (key: string, value: number, why: string) =>
    callers.integer(key, { min: 1, max: 10_000_000, default: value, why, live: true });
  return {
    callsPerMinutePerAddressMax: rate(
      'calls_per_minute_per_address_max',
      6000,
      'a hundred in a second; refused credentials count twenty times',
    ),
    callsPerMinutePerTenantMax: rate(
      'calls_per_minute_per_tenant_max',
      6000,
      'one tenant does not keep the others waiting; an operator sets it for each',
    ),
    attestationCostPerMinuteMax: rate(
      'attestation_cost_per_minute_max',
      12_000,
      'signature checks for one address: 1200 handshakes of the dearest evidence',
    ),
  };
}

function readIssuer(section: ConfigReader, serverName: string): OidcSettings {
  const speaksFor = section.choice('speaks_for', ['tenant', 'operator'], {
    default: 'tenant',
    why: 'operators register tenants and nothing else; few need that by OIDC',
  });
  return {
    issuer: section.text('issuer'),
    audience: section.text('audience', { default: serverName, why: 'the name of this server' }),
    keys: readKeys(section),
    speaksFor,
    tenant: section.has('tenant') ? section.text('tenant') : undefined,
    tenantClaim: section.text('tenant_claim', {
      default: 'tenant',
      why: 'names the tenant, unless `tenant` says it of all',
    }),
    roleClaim: section.text('role_claim', { default: 'roles', why: 'what most issuers call it' }),
    roles: section.section('roles', (roles) => {
      const all = roles.keys().map((role) => [role, roles.texts(role, names)] as const);
      if (all.length === 0 || all.length > rolesMax) {
        const field = section.name('roles');
        throw new CvmpError('CONFIG', `${field} has not 1 to ${rolesMax} entries`, { field });
      }
      for (const [role, scope] of all) demandScope(speaksFor, scope, roles.name(role));
      return new Map(all);
    }),
  };
}

function demandScope(audience: 'tenant' | 'operator', scope: readonly string[], field: string) {
  try {
    verbsOfScope(audience, scope);
  } catch (cause) {
    throw new CvmpError('CONFIG', `${field}: ${(cause as Error).message}`, { cause, field });
  }
}

function readKeys(section: ConfigReader): OidcSettings['keys'] {
  if (section.has('jwks_file')) return { kind: 'file', file: section.path('jwks_file') };
  const url = section.text('jwks_url');
  const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: '', hostname: '' };
  const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  if (protocol !== 'https:' && !(protocol === 'http:' && isHere)) {
    const field = section.name('jwks_url');
    throw new CvmpError('CONFIG', `${field} is not an https URL`, { field });
  }
  const caFile = section.has('jwks_ca_file') ? section.path('jwks_ca_file') : undefined;
  return { kind: 'url', url, caFile };
}

/** The issuers with what their files hold. @throws CvmpError CONFIG */
export function loadIssuers({ oidc }: CallerSettings): readonly OidcIssuer[] {
  return oidc.map((issuer) => {
    const { keys } = issuer;
    if (keys.kind === 'file') return { ...issuer, keys };
    const { url, caFile } = keys;
    const ca = caFile && fromUtf8(readNamedFile(caFile, 'callers.oidc.jwks_ca_file'), caFile);
    return { ...issuer, keys: { kind: 'url', url, ca } };
  });
}
