import { equalBytes } from '#core/bytes.js';
import type { MapReader } from '#core/cbor/read.js';
import { asArray, asBytes, asInteger, asText } from '#core/cbor/read.js';
import type { CborMap, CborValue } from '#core/cbor/value.js';
import { decodeCoseKey, type EcPublicKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';

/** A client certificate that speaks for a tenant. */
export interface ClientCertificate {
  /** SHA-256 of the SubjectPublicKeyInfo of the client, or of the authority; 32 bytes. */
  readonly spkiDigest: Uint8Array;
  /** DER certificate of the authority; empty: `spkiDigest` is that of the client itself. */
  readonly authority: Uint8Array;
  /** subjectAltName entries of which one is needed (authority); empty: any. */
  readonly names: readonly string[];
  /** Roles and verbs. */
  readonly scope: readonly string[];
  readonly label: string;
  /** Milliseconds since the epoch; undefined: as long as the certificate. */
  readonly notAfter: number | undefined;
}

/** An earlier signing key. */
export interface EarlierKey {
  /** COSE_Key. */
  readonly signingKey: Uint8Array;
  readonly publicKey: EcPublicKey;
  readonly thumbprint: Uint8Array;
  /** By which its tenant named the next one; empty: an operator replaced it, as it was lost. */
  readonly rotation: Uint8Array;
}

/** Limits that an operator set for a tenant; undefined: as the configuration says. */
export interface TenantLimits {
  readonly keysMax?: number | undefined;
  readonly policiesMax?: number | undefined;
  readonly storedBytesMax?: number | undefined;
  readonly cvmsMax?: number | undefined;
  readonly sessionsMax?: number | undefined;
  readonly callsPerMinuteMax?: number | undefined;
}

/** What was delegated and taken back. */
export interface Delegations {
  /** Seconds since 1970: those issued before count no more. */
  readonly notBefore: number;
  /** By id (16 bytes), each until no delegation can live so long; seconds since 1970. */
  readonly revoked: readonly { readonly id: Uint8Array; readonly until: number }[];
}

/** A registered tenant. */
export interface Tenant {
  readonly tenantId: string;
  /** COSE_Key as registered. */
  readonly signingKey: Uint8Array;
  /** The same, decoded; keep the value, its import is cached by identity. */
  readonly publicKey: EcPublicKey;
  /** COSE Key Thumbprint with SHA-256 (RFC 9679), 32 bytes. */
  readonly thumbprint: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly registered: number;
  /** Oldest first. */
  readonly earlierKeys: readonly EarlierKey[];
  /** Why it is suspended; undefined: it is not. */
  readonly suspended: string | undefined;
  readonly delegations: Delegations;
  readonly certificates: readonly ClientCertificate[];
  readonly limits: TenantLimits;
}

/**
 * A tenant as it is when it is registered.
 * @param signingKey COSE_Key of a public key on P-256 or P-384
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_ALGORITHM
 */
export function makeTenant(tenantId: string, signingKey: Uint8Array, registered: number): Tenant {
  const publicKey = decodeCoseKey(signingKey, 'tenant.signing_key');
  return {
    tenantId,
    signingKey,
    publicKey,
    thumbprint: thumbprint(publicKey),
    registered,
    earlierKeys: [],
    suspended: undefined,
    delegations: { notBefore: 0, revoked: [] },
    certificates: [],
    limits: {},
  };
}

/** The same tenant with another signing key; `rotation`: see {@link EarlierKey}. */
export function withKey(tenant: Tenant, signingKey: Uint8Array, rotation: Uint8Array): Tenant {
  const next = makeTenant(tenant.tenantId, signingKey, tenant.registered);
  const { signingKey: old, publicKey, thumbprint: print } = tenant;
  const earlier = { signingKey: old, publicKey, thumbprint: print, rotation };
  const { publicKey: nextKey, thumbprint: nextPrint } = next;
  return {
    ...tenant,
    signingKey,
    publicKey: nextKey,
    thumbprint: nextPrint,
    earlierKeys: [...tenant.earlierKeys, earlier],
  };
}

/** The key that a config document anchors, and its tenant's signed words for those after it. */
export interface AnchoredKeys {
  /** COSE_Key. */
  readonly first: Uint8Array;
  /** Oldest first. */
  readonly rotations: readonly Uint8Array[];
}

/**
 * The keys that speak for what an anchor began: the key with this thumbprint and those that its
 * tenant named after it, with its signed words for them. undefined: no key of this tenant.
 */
export function keysSince(tenant: Tenant, anchor: Uint8Array): AnchoredKeys | undefined {
  if (equalBytes(tenant.thumbprint, anchor)) return { first: tenant.signingKey, rotations: [] };
  const place = tenant.earlierKeys.findIndex((key) => equalBytes(key.thumbprint, anchor));
  const since = place < 0 ? [] : tenant.earlierKeys.slice(place);
  // What an operator put there nobody's hardware vouches for.
  if (since.length === 0 || since.some(({ rotation }) => rotation.length === 0)) return undefined;
  return { first: since[0]!.signingKey, rotations: since.map(({ rotation }) => rotation) };
}

/** The current key and the earlier ones: what a stored policy may be signed by. */
export function everyKey(tenant: Tenant): readonly EcPublicKey[] {
  return [tenant.publicKey, ...tenant.earlierKeys.map(({ publicKey }) => publicKey)];
}

/** @throws CvmpError TENANT_SUSPENDED; only for who has shown to be of the tenant */
export function demandActive({ suspended }: Pick<Tenant, 'suspended'>): void {
  if (suspended === undefined) return;
  throw new CvmpError('TENANT_SUSPENDED', `the tenant is suspended: ${suspended}`);
}

const limitNames = [
  'keysMax',
  'policiesMax',
  'storedBytesMax',
  'cvmsMax',
  'sessionsMax',
  'callsPerMinuteMax',
] as const satisfies readonly (keyof TenantLimits)[];

/** The stored form of a tenant. */
export function tenantMap(tenant: Tenant): CborMap {
  return new Map<number, CborValue>([
    [1, tenant.tenantId],
    [2, tenant.signingKey],
    [3, tenant.registered],
    [4, tenant.earlierKeys.map(({ signingKey, rotation }) => [signingKey, rotation])],
    [5, tenant.suspended ?? ''],
    [6, tenant.delegations.notBefore],
    [7, tenant.delegations.revoked.map(({ id, until }) => [id, until])],
    [8, tenant.certificates.map(certificateValue)],
    [9, limitNames.map((name) => tenant.limits[name] ?? 0)],
  ]);
}

/** @throws CvmpError MALFORMED, SIZE */
export function readTenant(m: MapReader): Tenant {
  const made = makeTenant(
    m.text(1, 'tenant_id'),
    m.bytes(2, 'signing_key'),
    m.integer(3, 'registered'),
  );
  const limits = m.array(9, 'limits', { length: limitNames.length }, (v, f) => asInteger(v, f));
  return {
    ...made,
    earlierKeys: m
      .array(4, 'earlier_keys', {}, (item, field) => {
        const [signingKey, rotation] = asArray(item, field, { length: 2 });
        return {
          ...makeTenant(made.tenantId, asBytes(signingKey, field), 0),
          rotation: asBytes(rotation, field),
        };
      })
      .map(({ signingKey, publicKey, thumbprint: print, rotation }) => ({
        signingKey,
        publicKey,
        thumbprint: print,
        rotation,
      })),
    suspended: m.text(5, 'suspended') || undefined,
    delegations: {
      notBefore: m.integer(6, 'delegations_not_before'),
      revoked: m.array(7, 'revoked', {}, (item, field) => {
        const [id, until] = asArray(item, field, { length: 2 });
        return { id: asBytes(id, field, { length: 16 }), until: asInteger(until, field) };
      }),
    },
    certificates: m.array(8, 'certificates', {}, readCertificate),
    limits: Object.fromEntries(limitNames.map((name, i) => [name, limits[i] || undefined])),
  };
}

function certificateValue(one: ClientCertificate): CborValue {
  const { spkiDigest, authority, names, scope, label, notAfter } = one;
  return [spkiDigest, authority, [...names], [...scope], label, notAfter ?? 0];
}

function readCertificate(item: CborValue, field: string): ClientCertificate {
  const [digest, authority, names, scope, label, notAfter] = asArray(item, field, { length: 6 });
  const texts = (value: CborValue | undefined) =>
    asArray(value, field).map((text) => asText(text, field));
  return {
    spkiDigest: asBytes(digest, field, { length: 32 }),
    authority: asBytes(authority, field),
    names: texts(names),
    scope: texts(scope),
    label: asText(label, field),
    notAfter: asInteger(notAfter, field) || undefined,
  };
}
