import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { equalBytes } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, ecPublicKey, thumbprint } from '#core/cose/key.js';
import { openRotation } from '#core/cose/key-rotation.js';
import { demandQuorum, peekSigned, signAlso, startTogether } from '#core/cose/quorum.js';
import { openSign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import {
  type PolicyResponse,
  PolicyResponseSchema,
  type SetKeyPolicy,
  type SetKeyPolicyResponse,
  SetKeyPolicySchema,
} from '#gen/cvmp/v1/policy_pb.js';
import type { AccessService } from '#gen/cvmp/v1/tenant_pb.js';
import { policyResponseType, policyType, signTyped } from '#wire/signed-policy.js';
import { errorReport, type ServerApis } from '../api.js';
import type { KeyServerEntry } from '../profile/profile.js';
import type { CurrentPolicy } from './policy-file.js';

/** COSE_Sign1 by the tenant's key over the exact serialised policy. */
export function signPolicy(key: EcPrivateKey, policy: SetKeyPolicy): Promise<Uint8Array> {
  return signTyped(key, policyType, toBinary(SetKeyPolicySchema, policy));
}

/** A COSE_Sign by the first of several signers, over the exact serialised policy. */
export function startPolicy(key: EcPrivateKey, policy: SetKeyPolicy): Promise<Uint8Array> {
  return startTogether(key, policyType, toBinary(SetKeyPolicySchema, policy));
}

/** The same with one signature more. @throws CvmpError MALFORMED, ALREADY_EXISTS */
export function signPolicyAlso(key: EcPrivateKey, signed: Uint8Array): Promise<Uint8Array> {
  return signAlso(signed, policyType, key);
}

/** Whether a file is a signed policy (COSE_Sign1 or COSE_Sign), not YAML. */
export function isSigned(bytes: Uint8Array): boolean {
  return bytes[0] === 0xd2 || (bytes[0] === 0xd8 && bytes[1] === 98);
}

/** The policy in a signed file; its signatures are for the Key Server to judge. */
export function readSigned(signed: Uint8Array): SetKeyPolicy {
  return fromBinary(SetKeyPolicySchema, peekSigned(signed, policyType).payload);
}

/** The earlier keys of a tenant that led to its key, by their signed words. */
type EarlierKeys = () => Promise<readonly EcPublicKey[]>;

async function openOwn(signed: Uint8Array, key: EcPublicKey, earlier: EarlierKeys) {
  try {
    return await demandQuorum(signed, policyType, { signers: [key], threshold: 1 });
  } catch (error) {
    // Who cannot be asked vouches for nothing.
    const signers = await earlier().catch(() => []);
    if (signers.length === 0) throw error;
    return demandQuorum(signed, policyType, { signers, threshold: 1 });
  }
}

/**
 * Earlier keys, back from the tenant's own: each rotation is signed by the key before and by the key
 * after it, so a server cannot make one up.
 */
async function earlierKeysOf(
  access: Client<typeof AccessService>,
  tenantId: string,
  own: EcPublicKey,
): Promise<readonly EcPublicKey[]> {
  const { access: answer } = await access.getAccess({});
  const told = [...(answer?.tenant?.earlierKeys ?? [])].reverse();
  const keys: EcPublicKey[] = [];
  let next = thumbprint(own);
  for (const { signingKey, signedRotation } of told) {
    if (signedRotation.length === 0) break;
    const key = decodeCoseKey(signingKey, 'earlier_keys');
    const { to } = await openRotation(signedRotation, tenantId, key);
    if (!equalBytes(thumbprint(to), next)) break;
    keys.push(key);
    next = thumbprint(key);
  }
  return keys;
}

/**
 * A policy as the Key Server holds it, read from the bytes that the tenant signed: the server's own
 * reading of them is not believed.
 * @param version 0n: the current one
 * @returns undefined where there is none
 * @throws CvmpError SIGNATURE_INVALID where this tenant's key did not sign it
 */
export async function fetchPolicy(
  servers: Pick<ServerApis, 'policies' | 'access'>,
  { key, issuer }: { readonly key: EcPrivateKey; readonly issuer: string },
  policyId: string,
  version = 0n,
): Promise<(CurrentPolicy & { readonly signed: Uint8Array }) | undefined> {
  const own = ecPublicKey(key.curve, key.publicPoint);
  const earlier = () => earlierKeysOf(servers.access('key_server'), issuer, own);
  let signed: Uint8Array;
  try {
    ({ signedPolicy: signed } = await servers.policies().getKeyPolicy({ policyId, version }));
  } catch (error) {
    if (errorReport(error).code === 'NOT_FOUND') return undefined;
    throw error;
  }
  const { payload } = await openOwn(signed, own, earlier);
  const policy = fromBinary(SetKeyPolicySchema, payload);
  return { policy, digest: crypto.hash('sha256', signed), signed };
}

/**
 * The Key Server's answer, read from what it signed, and held against what was sent.
 * @throws CvmpError SIGNATURE_INVALID, SERVER_UNTRUSTED
 */
export async function openPolicyResponse(
  answer: SetKeyPolicyResponse,
  sent: { readonly policy: SetKeyPolicy; readonly signed: Uint8Array },
  server: KeyServerEntry,
): Promise<PolicyResponse> {
  const { payload } = await openSign1(answer.signedResponse, server.identityKey, {
    typ: policyResponseType,
  });
  const response = fromBinary(PolicyResponseSchema, payload);
  const { policyId, version } = sent.policy;
  const answersThis =
    response.policyId === policyId &&
    response.version === version &&
    equalBytes(response.digest, crypto.hash('sha256', sent.signed));
  if (!answersThis) {
    throw new CvmpError('SERVER_UNTRUSTED', 'the Key Server signed an answer to another policy');
  }
  return response;
}
