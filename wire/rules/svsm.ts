import { create } from '@bufbuild/protobuf';
import { CvmpError } from '#core/errors.js';
import type { SvsmLevel, SvsmRules } from '#core/svsm/rules.js';
import {
  SnpLevelSchema,
  SnpRulesSchema,
  type SvsmLevel as SvsmLevelMessage,
  type SvsmRules as SvsmRulesMessage,
} from '#gen/cvmp/v1/policy_pb.js';
import { snpLevelOf, snpRulesOf } from './snp.js';
import { bootRulesOf, tpmLevelOf } from './tpm.js';

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function svsmRulesOf(message: SvsmRulesMessage, path: string): SvsmRules {
  const { hardware = create(SnpRulesSchema), services, boot } = message;
  if (hardware.vmpl !== 0) {
    const field = `${path}.hardware.vmpl`;
    const what = `${field} is ${hardware.vmpl}; an SVSM reports from VMPL 0`;
    throw new CvmpError('POLICY_INVALID', what, { field });
  }
  return {
    hardware: snpRulesOf(hardware, `${path}.hardware`),
    services,
    boot: boot && bootRulesOf(boot, `${path}.boot`),
  };
}

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function svsmLevelOf(message: SvsmLevelMessage, path: string): SvsmLevel {
  const { hardware = create(SnpLevelSchema), boot } = message;
  return { hardware: snpLevelOf(hardware, `${path}.hardware`), boot: boot && tpmLevelOf(boot) };
}
