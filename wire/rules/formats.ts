import type { RulesByFormat } from '#core/keying/policy.js';
import type { AppraisalPolicy, SvnLevel } from '#gen/cvmp/v1/policy_pb.js';
import { azureSnpLevelOf, azureSnpRulesOf, azureTdxLevelOf, azureTdxRulesOf } from './azure.js';
import { ccaLevelOf, ccaRulesOf } from './cca.js';
import { earLevelOf, earRulesOf } from './ear.js';
import { snpLevelOf, snpRulesOf } from './snp.js';
import { svsmLevelOf, svsmRulesOf } from './svsm.js';
import { tdxLevelOf, tdxRulesOf } from './tdx.js';
import { tpmLevelOf, tpmRulesOf } from './tpm.js';

/** One evidence format in the messages of a policy. */
interface FormatRow {
  /** As core/schemes.ts names it. */
  readonly format: string;
  /** Undefined where the policy does not admit the format. */
  readonly rules: (message: AppraisalPolicy, path: string) => unknown;
  /** Undefined where the level says nothing about the format. */
  readonly level: (message: SvnLevel, path: string) => unknown;
}

/** Every format of core/schemes.ts; a field's name is the format's, with _ for -. */
const rows: readonly FormatRow[] = [
  {
    format: 'snp',
    rules: ({ snp }, path) => snp && snpRulesOf(snp, path),
    level: ({ snp }, path) => snp && snpLevelOf(snp, path),
  },
  {
    format: 'svsm',
    rules: ({ svsm }, path) => svsm && svsmRulesOf(svsm, path),
    level: ({ svsm }, path) => svsm && svsmLevelOf(svsm, path),
  },
  {
    format: 'tdx',
    rules: ({ tdx }, path) => tdx && tdxRulesOf(tdx, path),
    level: ({ tdx }, path) => tdx && tdxLevelOf(tdx, path),
  },
  {
    format: 'tpm',
    rules: ({ tpm }, path) => tpm && tpmRulesOf(tpm, path),
    level: ({ tpm }) => tpm && tpmLevelOf(tpm),
  },
  {
    format: 'azure-snp',
    rules: ({ azureSnp }, path) => azureSnp && azureSnpRulesOf(azureSnp, path),
    level: ({ azureSnp }, path) => azureSnp && azureSnpLevelOf(azureSnp, path),
  },
  {
    format: 'azure-tdx',
    rules: ({ azureTdx }, path) => azureTdx && azureTdxRulesOf(azureTdx, path),
    level: ({ azureTdx }, path) => azureTdx && azureTdxLevelOf(azureTdx, path),
  },
  {
    format: 'cca',
    rules: ({ cca }, path) => cca && ccaRulesOf(cca, path),
    level: ({ cca }) => cca && ccaLevelOf(cca),
  },
  {
    format: 'ear',
    rules: ({ ear }, path) => ear && earRulesOf(ear, path),
    level: ({ ear }) => ear && earLevelOf(ear),
  },
];

/** @throws CvmpError INVALID_FIELD, POLICY_INVALID */
export function formatRulesOf(message: AppraisalPolicy | undefined, path: string): RulesByFormat {
  return byFormat(message, path, ({ rules }) => rules);
}

/** @throws CvmpError INVALID_FIELD, POLICY_INVALID */
export function formatLevelsOf(message: SvnLevel, path: string): RulesByFormat {
  return byFormat(message, path, ({ level }) => level);
}

function byFormat<M>(
  message: M | undefined,
  path: string,
  read: (row: FormatRow) => (message: M, path: string) => unknown,
): RulesByFormat {
  const rules = new Map<string, unknown>();
  if (message === undefined) return rules;
  for (const row of rows) {
    const rule = read(row)(message, `${path}.${row.format.replace('-', '_')}`);
    if (rule !== undefined) rules.set(row.format, rule);
  }
  return rules;
}
