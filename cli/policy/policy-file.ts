import { create, equals } from '@bufbuild/protobuf';
import { stringify } from 'yaml';
import { CvmpError } from '#core/errors.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import {
  type AppraisalPolicy,
  type SetKeyPolicy,
  SetKeyPolicySchema,
} from '#gen/cvmp/v1/policy_pb.js';
import { policyOf } from '#wire/policy.js';
import { fromYaml, toReadable } from '../terminal/readable.js';
import { parsePath, parseYaml, type YamlFile } from '../terminal/yaml-file.js';

/** A policy as its tenant signed it, with its digest. */
export interface CurrentPolicy {
  readonly policy: SetKeyPolicy;
  /** SHA-256 of the signed policy, 32 bytes. */
  readonly digest: Uint8Array;
}

/** A policy as somebody wrote it. */
export interface WrittenPolicy {
  readonly message: SetKeyPolicy;
  readonly file: YamlFile;
}

/**
 * Reads a policy written as YAML (docs/operating.md).
 * @param name of the file, for messages
 * @throws CvmpError INVALID_FIELD naming line and field
 */
export function parsePolicy(text: string, name: string): WrittenPolicy {
  const file = parseYaml(text, name, 'INVALID_FIELD');
  return { message: fromYaml(SetKeyPolicySchema, file), file };
}

/**
 * Reads reference values, written as the `appraisal` of a policy and nothing else.
 * @throws CvmpError INVALID_FIELD naming line and field
 */
export function parseFragment(text: string, name: string): AppraisalPolicy {
  const { message, file } = parsePolicy(text, name);
  const { appraisal } = message;
  const rest = create(SetKeyPolicySchema, { ...message });
  delete rest.appraisal;
  if (appraisal === undefined || !equals(SetKeyPolicySchema, rest, create(SetKeyPolicySchema))) {
    return file.refuse([], 'holds something else than the appraisal of a policy');
  }
  return appraisal;
}

/** Stands in for what the server's state fills in, where a policy is judged without it. */
const unfilled = { tenantId: 'tenant', version: 1n };

/**
 * Holds a policy to every rule that needs no server.
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID, UNSUPPORTED_EVIDENCE naming line and field
 */
export function checkWritten({ message, file }: WrittenPolicy): KeyingPolicy {
  const tenantId = message.tenantId || unfilled.tenantId;
  const version = message.version || unfilled.version;
  try {
    return policyOf(create(SetKeyPolicySchema, { ...message, tenantId, version }));
  } catch (error) {
    if (!(error instanceof CvmpError) || error.field === undefined) throw error;
    const field = error.field.replace(/^policy\.?/, '');
    const why = error.message.replace(error.field, '').replace(/^:? /, '');
    return file.refuse(parsePath(field), why, error.code);
  }
}

/** A policy as YAML, as {@link parsePolicy} reads it. */
export function policyYaml(policy: SetKeyPolicy): string {
  return stringify(toReadable(SetKeyPolicySchema, policy, false), { lineWidth: 0 });
}

/**
 * Fills in what a file may leave out: the tenant, and version and prev_digest by the version in
 * force.
 * @returns undefined where the file says just what is in force
 * @throws CvmpError INVALID_FIELD where the file names another tenant
 */
export function completePolicy(
  { message: written }: WrittenPolicy,
  tenantId: string,
  current: CurrentPolicy | undefined,
): SetKeyPolicy | undefined {
  if (written.tenantId !== '' && written.tenantId !== tenantId) {
    const why = `tenant_id: the policy is of ${written.tenantId}, the profile of ${tenantId}`;
    throw new CvmpError('INVALID_FIELD', why, { field: 'tenant_id' });
  }
  const policy = create(SetKeyPolicySchema, { ...written, tenantId });
  if (written.version !== 0n) return policy;
  if (current !== undefined) {
    const { version, prevDigest } = current.policy;
    const same = create(SetKeyPolicySchema, { ...policy, version, prevDigest });
    if (equals(SetKeyPolicySchema, same, current.policy)) return undefined;
  }
  policy.version = (current?.policy.version ?? 0n) + 1n;
  policy.prevDigest = current?.digest ?? new Uint8Array();
  return policy;
}
