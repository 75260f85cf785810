import { create } from '@bufbuild/protobuf';
import type { AzureLevel, AzureRules } from '#core/azure/scheme.js';
import type { SnpLevel, SnpRules } from '#core/snp/rules.js';
import type { TdxLevel, TdxRules } from '#core/tdx/rules.js';
import {
  type AzureSnpLevel,
  type AzureSnpRules,
  type AzureTdxLevel,
  type AzureTdxRules,
  SnpLevelSchema,
  SnpRulesSchema,
} from '#gen/cvmp/v1/policy_pb.js';
import { TdxLevelSchema, TdxRulesSchema } from '#gen/cvmp/v1/tdx_rules_pb.js';
import { snpLevelOf, snpRulesOf } from './snp.js';
import { tdxLevelOf, tdxRulesOf } from './tdx.js';
import { bootRulesOf, tpmLevelOf } from './tpm.js';

// Each function: @param path of the message in its policy, @throws CvmpError INVALID_FIELD,
// POLICY_INVALID. Both halves of the rules are required by proto/; a half of a level that is absent
// is an empty rule.

export function azureSnpRulesOf(message: AzureSnpRules, path: string): AzureRules<SnpRules> {
  const { hardware = create(SnpRulesSchema), boot } = message;
  return {
    hardware: snpRulesOf(hardware, `${path}.hardware`),
    boot: bootRulesOf(boot, `${path}.boot`),
  };
}

export function azureTdxRulesOf(message: AzureTdxRules, path: string): AzureRules<TdxRules> {
  const { hardware = create(TdxRulesSchema), boot } = message;
  return {
    hardware: tdxRulesOf(hardware, `${path}.hardware`),
    boot: bootRulesOf(boot, `${path}.boot`),
  };
}

export function azureSnpLevelOf(message: AzureSnpLevel, path: string): AzureLevel<SnpLevel> {
  const { hardware = create(SnpLevelSchema), boot } = message;
  return { hardware: snpLevelOf(hardware, `${path}.hardware`), boot: tpmLevelOf(boot) };
}

export function azureTdxLevelOf(message: AzureTdxLevel, path: string): AzureLevel<TdxLevel> {
  const { hardware = create(TdxLevelSchema), boot } = message;
  return { hardware: tdxLevelOf(hardware, `${path}.hardware`), boot: tpmLevelOf(boot) };
}
