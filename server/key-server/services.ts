import type { DescService } from '@bufbuild/protobuf';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { KeyAdminService } from '#gen/cvmp/v1/key_admin_pb.js';
import { KeyService } from '#gen/cvmp/v1/key_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { AccessService, TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { accessService } from '#server/host/callers/access-service.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { readNamedFile } from '#server/host/config/files.js';
import { type BoundService, gated } from '#server/host/handlers.js';
import { auditService } from './audit-service.js';
import type { KeyServerSettings } from './config.js';
import { keyAdminService } from './key-admin-service.js';
import { keyService } from './key-service.js';
import type { KeyServerMetrics } from './metrics.js';
import { policyService } from './policy-service.js';
import type { KeyServerState } from './release/contract.js';
import type { SessionLimits } from './session/stream.js';
import { tenantFacts } from './tenants/facts.js';
import { trustAnchors } from './verifier/anchors.js';
import { Verifier, type VerifierOptions } from './verifier/attest.js';
import { heldEndorsements } from './verifier/held.js';
import type { NamedFile } from './verifier/named-file.js';

/** What of the configuration, and of the files that it names, may change while the server runs. */
export interface LiveParts extends Pick<VerifierOptions, 'anchors' | 'endorsements'> {
  readonly limits: SessionLimits;
  readonly audit: KeyServerSettings['audit'];
}

/** @throws CvmpError CONFIG */
export function liveParts(settings: KeyServerSettings): LiveParts {
  const { verifier, session } = settings;
  return {
    anchors: anchorsOf(settings),
    endorsements: heldEndorsements([
      ...readAll(verifier.endorsementFiles, 'verifier.endorsement_files'),
      // A root that is trusted need not come along.
      ...readAll(verifier.trustAnchorFiles, 'verifier.trust_anchor_files'),
      ...readAll(verifier.tpmRootFiles, 'verifier.tpm_root_files'),
    ]),
    limits: session,
    audit: settings.audit,
  };
}

export function anchorsOf({ verifier }: KeyServerSettings): readonly TrustAnchor[] {
  return trustAnchors({
    roots: readAll(verifier.trustAnchorFiles, 'verifier.trust_anchor_files'),
    tpmMakers: readAll(verifier.tpmRootFiles, 'verifier.tpm_root_files'),
  });
}

interface ServiceParts extends Pick<VerifierOptions, 'source' | 'now'> {
  readonly metrics: KeyServerMetrics;
}

/** What the Key Server serves, in one order: types here, what stands behind them below. */
export const serviceTypes: readonly DescService[] = [
  KeyService,
  PolicyService,
  KeyAdminService,
  AuditService,
  TenantService,
  AccessService,
];

/** The services over an open state, in the order of {@link serviceTypes}. */
export function servicesOf(
  settings: KeyServerSettings,
  state: KeyServerState,
  live: () => LiveParts,
  { source, metrics, now }: ServiceParts,
): readonly BoundService[] {
  const { identity, keys, notices, policies, tenants, audit, bootCounts } = state;
  const verifier = new Verifier({
    tenants,
    policies,
    audit,
    bootCounts,
    get anchors() {
      return live().anchors;
    },
    endorsements: (format) => live().endorsements(format),
    source,
    revocation: settings.endorsements.revocation,
    metrics,
    now,
  });
  const parts = {
    identity,
    verifier,
    keys,
    guard: state.guard,
    notices,
    quotas: state.quotas,
    get limits() {
      return live().limits;
    },
    metrics,
    now,
  };
  const facts = tenantFacts(state);
  const services = [
    keyService(parts),
    policyService({ ...state, now }),
    keyAdminService({ ...state, now }),
    auditService(state),
    tenantService(tenants, facts),
    accessService(tenants, facts, now),
  ];
  // A server whose store was rolled back answers nobody, whatever is asked.
  return services.map((service) => gated(service, () => state.guard.refusal()));
}

function readAll(files: readonly string[], field: string): readonly NamedFile[] {
  return files.map((name, i) => ({ name, bytes: readNamedFile(name, `${field}[${i}]`) }));
}
