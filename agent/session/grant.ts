import { fromBinary } from '@bufbuild/protobuf';
import { equalBytes } from '#core/bytes.js';
import { decodeCoseKey, thumbprint } from '#core/cose/key.js';
import { followRotations } from '#core/cose/key-rotation.js';
import { demandQuorum } from '#core/cose/quorum.js';
import { CvmpError } from '#core/errors.js';
import { bestCoverage } from '#core/keying/selector.js';
import { type ConfigDocument, decodeConfigDocument } from '#core/rats/config-document.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { policyType } from '#wire/signed-policy.js';
import type { Grant } from './key-session.js';

/**
 * Holds the Key Server's grant against what the hardware bound to this CVM: the policy must be
 * signed by the tenant key that the config document anchors, or by one that this key's holder named
 * after it, be of that tenant and for this CVM.
 * A Key Server, or who took it over, cannot make up a policy. What the policy's rules ask is for
 * the Key Server to enforce; an agent may be older than they are, so they are read leniently.
 * @throws CvmpError SERVER_UNTRUSTED
 */
export async function checkGrant(grant: Grant, configDocument: Uint8Array): Promise<void> {
  const document = decodeConfigDocument(configDocument);
  const policy = await openPolicy(grant, document);
  if (policy.tenantId !== document.tenantId) {
    throw untrusted(`the policy is of ${policy.tenantId}, not of ${document.tenantId}`);
  }
  if (bestCoverage([policy], document.cvmName) === undefined) {
    throw untrusted(`the policy does not cover ${document.cvmName}`);
  }
  if (grant.simulated && policy.appraisal?.allowSimulated !== true) {
    throw untrusted('the policy does not admit simulated evidence, and this was taken for such');
  }
}

async function openPolicy(
  { tenantKey, keyRotations, signedPolicy }: Grant,
  { policyAnchor: anchor, tenantId }: ConfigDocument,
) {
  try {
    const key = decodeCoseKey(tenantKey, 'grant.tenant_key');
    if (!equalBytes(thumbprint(key), anchor)) throw untrusted('the policy has another signer');
    const signers = await followRotations(key, tenantId, keyRotations);
    const { payload } = await demandQuorum(signedPolicy, policyType, { signers, threshold: 1 });
    return fromBinary(SetKeyPolicySchema, payload);
  } catch (cause) {
    if (cause instanceof CvmpError && cause.code === 'SERVER_UNTRUSTED') throw cause;
    throw untrusted('the policy is not signed by the anchored tenant key', cause);
  }
}

function untrusted(what: string, cause?: unknown): CvmpError {
  return new CvmpError('SERVER_UNTRUSTED', what, { cause, field: 'grant.signed_policy' });
}
