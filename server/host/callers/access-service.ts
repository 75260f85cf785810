import { X509Certificate } from 'node:crypto';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { equalBytes } from '#core/bytes.js';
import { delegationSecondsMax } from '#core/cose/delegation.js';
import { openRotation } from '#core/cose/key-rotation.js';
import { CvmpError } from '#core/errors.js';
import {
  AccessService,
  type ClientCertificate as CertificateMessage,
} from '#gen/cvmp/v1/tenant_pb.js';
import { type BoundService, bindService, tenantOf } from '../handlers.js';
import { spkiDigestOf } from './client-certificate.js';
import type { ClientCertificate, Tenant } from './tenant.js';
import {
  limitsMessage,
  noTenant,
  type TenantFacts,
  type TenantRegistry,
  tenantMessage,
  usageMessage,
  withNextKey,
} from './tenants.js';
import { verbsOfScope } from './verbs.js';

/** Delegations that may be revoked one by one; beyond that all up to a time. */
const revokedMax = 1024;
const certificatesMax = 64;
/** How far the clock of who signs a rotation may be off. */
const rotationSecondsMax = 86_400;

/** AccessService: a tenant says who may speak for it beside its own key. */
export function accessService(
  registry: TenantRegistry,
  facts: Pick<TenantFacts, 'usage'>,
  now: () => number,
): BoundService {
  const seconds = () => Math.floor(now() / 1000);
  return bindService(AccessService, {
    async getAccess(_, context) {
      const tenant = await registry.get(tenantOf(context));
      if (tenant === undefined) throw noTenant(tenantOf(context));
      return {
        access: accessMessage(tenant),
        limits: limitsMessage(tenant.limits),
        usage: (await facts.usage(tenant)).map(usageMessage),
      };
    },

    async revokeDelegations({ delegationIds, issuedBefore }, context) {
      const before = issuedBefore === undefined ? 0 : Math.ceil(timestampMs(issuedBefore) / 1000);
      const next = (tenant: Tenant) => revoked(tenant, delegationIds, before, seconds());
      const what = 'revoke_delegations';
      const tenant = await registry.change(tenantOf(context), what, next, context);
      return { access: accessMessage(tenant) };
    },

    async addClientCertificate({ certificate }, context) {
      const added = certificateOf(certificate!);
      const next = (tenant: Tenant) => {
        const rest = without(tenant.certificates, added.spkiDigest);
        if (rest.length >= certificatesMax) {
          throw new CvmpError('QUOTA', `the tenant has its ${certificatesMax} client certificates`);
        }
        return { ...tenant, certificates: [...rest, added] };
      };
      const what = 'add_client_certificate';
      const tenant = await registry.change(tenantOf(context), what, next, context);
      return { access: accessMessage(tenant) };
    },

    async removeClientCertificate({ spkiDigest }, context) {
      const next = (tenant: Tenant) => {
        const certificates = without(tenant.certificates, spkiDigest);
        if (certificates.length < tenant.certificates.length) return { ...tenant, certificates };
        throw new CvmpError('NOT_FOUND', 'the tenant has no such client certificate');
      };
      const what = 'remove_client_certificate';
      const tenant = await registry.change(tenantOf(context), what, next, context);
      return { access: accessMessage(tenant) };
    },

    async rotateTenantKey({ signedRotation }, context) {
      const tenantId = tenantOf(context);
      const current = await registry.get(tenantId);
      if (current === undefined) throw noTenant(tenantId);
      const rotation = await openRotation(signedRotation, tenantId, current.publicKey);
      if (Math.abs(rotation.issued - seconds()) > rotationSecondsMax) {
        throw new CvmpError('INVALID_FIELD', 'the rotation was not issued today', {
          field: 'signed_rotation',
        });
      }
      const next = (tenant: Tenant) => {
        if (equalBytes(tenant.thumbprint, rotation.from)) {
          return withNextKey(tenant, rotation.to, signedRotation);
        }
        throw new CvmpError('CAS_MISMATCH', 'the tenant has another key meanwhile');
      };
      const tenant = await registry.change(tenantId, 'rotate_tenant_key', next, context);
      return { access: accessMessage(tenant) };
    },
  });
}

function revoked(
  tenant: Tenant,
  ids: readonly Uint8Array[],
  before: number,
  nowSeconds: number,
): Tenant {
  const { notBefore, revoked: there } = tenant.delegations;
  const kept = there.filter(({ until }) => until > nowSeconds);
  const added = ids
    .filter((id) => !kept.some((one) => equalBytes(one.id, id)))
    .map((id) => ({ id, until: nowSeconds + delegationSecondsMax }));
  if (kept.length + added.length > revokedMax) {
    const what = `${revokedMax} delegations are revoked one by one; revoke all up to a time`;
    throw new CvmpError('QUOTA', what, { field: 'delegation_ids' });
  }
  const delegations = { notBefore: Math.max(notBefore, before), revoked: [...kept, ...added] };
  return { ...tenant, delegations };
}

const without = (all: readonly ClientCertificate[], digest: Uint8Array) =>
  all.filter(({ spkiDigest }) => !equalBytes(spkiDigest, digest));

/** @throws CvmpError INVALID_FIELD */
function certificateOf(message: CertificateMessage): ClientCertificate {
  const { authority, names, scope, label, notAfter } = message;
  verbsOfScope('tenant', scope);
  const spkiDigest = authority.length === 0 ? message.spkiDigest : authorityDigest(authority);
  if (spkiDigest.length === 0) throw wrong('spki_digest', 'is missing, and so is authority');
  if (authority.length === 0 && names.length > 0) throw wrong('names', 'go with an authority');
  return {
    spkiDigest,
    authority,
    names,
    scope,
    label,
    notAfter: notAfter === undefined ? undefined : timestampMs(notAfter),
  };
}

function authorityDigest(der: Uint8Array): Uint8Array {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch (cause) {
    throw wrong('authority', 'is not a certificate in DER', cause);
  }
  if (!certificate.ca) throw wrong('authority', 'is the certificate of no authority');
  return spkiDigestOf(certificate);
}

function wrong(field: string, what: string, cause?: unknown): CvmpError {
  const path = `certificate.${field}`;
  return new CvmpError('INVALID_FIELD', `${path} ${what}`, { field: path, cause });
}

function accessMessage(tenant: Tenant) {
  const { notBefore, revoked: ids } = tenant.delegations;
  return {
    tenant: tenantMessage(tenant),
    ...(notBefore === 0 ? {} : { delegationsNotBefore: timestampFromMs(notBefore * 1000) }),
    revokedDelegations: ids.map(({ id, until }) => ({
      delegationId: id,
      until: timestampFromMs(until * 1000),
    })),
    certificates: tenant.certificates.map((one) => ({
      ...one,
      names: [...one.names],
      scope: [...one.scope],
      notAfter: undefined,
      ...(one.notAfter === undefined ? {} : { notAfter: timestampFromMs(one.notAfter) }),
    })),
  };
}
