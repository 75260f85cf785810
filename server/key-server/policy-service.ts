import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { peekSigned } from '#core/cose/quorum.js';
import { CvmpError } from '#core/errors.js';
import { LoggedRecordSchema } from '#gen/cvmp/v1/audit_pb.js';
import {
  PolicyImpactSchema,
  type PolicyResponse,
  PolicyResponseSchema,
  PolicyService,
  type SetKeyPolicy,
  SetKeyPolicySchema,
} from '#gen/cvmp/v1/policy_pb.js';
import { type BoundService, bindService, tenantOf } from '#server/host/handlers.js';
import { pageRequest } from '#server/host/paging.js';
import { policyResponseType, policyType, signTyped } from '#wire/signed-policy.js';
import { loggedRecord } from './audit-service.js';
import { impactMessage, impactOf } from './impact/impact.js';
import type { KeyServerState, PolicyOutcome, StoredPolicy, Told } from './release/contract.js';

type PolicyParts = Pick<KeyServerState, 'policies' | 'identity' | 'log' | 'notices' | 'keys'> & {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** PolicyService: tenants set who may obtain keys (draft-deng-teep-cvmp-01 s.3.3.1). */
export function policyService(parts: PolicyParts): BoundService {
  const { policies, identity, log } = parts;
  return bindService(PolicyService, {
    async setKeyPolicy({ signedPolicy, dryRun }, context) {
      const tenantId = tenantOf(context);
      const told: Told = {};
      const tried = dryRun ? await policies.tryOut(tenantId, signedPolicy) : undefined;
      const outcome =
        tried?.outcome ?? (await policies.set(tenantId, signedPolicy, context, { told }));
      const policyResponse = responseOf(outcome);
      if (tried !== undefined) {
        const impact = impactMessage(await impactOf(tenantId, tried, parts));
        policyResponse.impact = create(PolicyImpactSchema, impact);
      }
      if (told.receipt !== undefined) {
        const { index, checkpoint } = told.receipt;
        policyResponse.checkpoint = checkpoint.signed;
        const proven = await log.inclusion(tenantId, index, checkpoint.size);
        policyResponse.logged = create(LoggedRecordSchema, loggedRecord(proven));
      }
      const payload = toBinary(PolicyResponseSchema, policyResponse);
      return {
        signedResponse: await signTyped(identity, policyResponseType, payload),
        policyResponse,
      };
    },

    async requireReattestation({ policyId }, context) {
      const tenantId = tenantOf(context);
      return { sessions: await policies.requireReattestation(tenantId, policyId, context) };
    },

    async getKeyPolicy({ policyId, version }, context) {
      const stored = await policies.get(tenantOf(context), policyId, numberOf(version));
      return {
        signedPolicy: stored.signed,
        policy: contentOf(stored),
        digest: stored.digest,
      };
    },

    async listKeyPolicies(request, context) {
      const page = await policies.list(tenantOf(context), pageRequest(request));
      const summaries = page.items.map(({ policy, digest }) => ({
        policyId: policy.policyId,
        version: BigInt(policy.version),
        digest,
        svnFloor: policy.svnFloor,
        levels: policy.levels.length,
      }));
      return { policies: summaries, nextPageToken: page.nextPageToken };
    },
  });
}

function responseOf(outcome: PolicyOutcome): PolicyResponse {
  const { policy, digest, accepted, keysRaised, warnings, time } = outcome;
  return create(PolicyResponseSchema, {
    policyId: policy.policyId,
    version: BigInt(policy.version),
    digest,
    accepted,
    svnFloor: policy.svnFloor,
    keysRaised,
    warnings: [...warnings],
    time: timestampFromMs(time),
  });
}

/** What the tenant signed, to read without a COSE library. It was verified when it was stored. */
function contentOf({ signed }: StoredPolicy): SetKeyPolicy {
  return fromBinary(SetKeyPolicySchema, peekSigned(signed, policyType).payload);
}

/** @throws CvmpError NOT_FOUND: versions count by ones */
function numberOf(version: bigint): number {
  if (version > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new CvmpError('NOT_FOUND', 'there is no such version', { field: 'version' });
  }
  return Number(version);
}
