import { toHex } from '#core/bytes.js';
import { CvmpError, errorTable } from '#core/errors.js';
import { decodeLogRecord, type LogRecord } from '#core/log/record.js';
import { policyOf } from '#wire/policy.js';
import { type Reappraisal, reappraise } from '../audit/reappraise.js';
import { command } from '../command.js';
import { appraisalJson, appraisalText } from '../evidence/appraisal.js';
import { readSigned } from '../policy/signed-policy.js';
import { fields } from '../terminal/output.js';

export const auditExplain = command({
  name: 'audit explain',
  summary: 'Takes a decision of the Key Server again, and says why it came out so.',
  examples: ['cvmp audit explain 17', 'cvmp audit explain 17 --json'],
  positionals: ['INDEX'],
  options: {},
  notes:
    'INDEX is the first column of cvmp audit list. The evidence of the session, what it was verified\n' +
    'with, the policy and the time are those of the decision; the code is that of the Key Server, run\n' +
    'here. Exit code 1 where the decision does not follow from them.',
  async run({ positionals: [typed] }, context) {
    if (!/^[1-9][0-9]{0,14}$/.test(typed!)) {
      throw new CvmpError('USAGE', 'INDEX is a number of cvmp audit list', { field: 'index' });
    }
    const audit = (await context.servers()).audit();
    const kept = await audit.explainAuditEntry({ index: BigInt(typed!) });
    const record = decodeLogRecord(kept.record);
    if (record.index !== Number(typed)) {
      throw new CvmpError('SERVER_UNTRUSTED', `the Key Server tells of record ${record.index}`);
    }
    const message = kept.signedPolicy.length === 0 ? undefined : readSigned(kept.signedPolicy);
    const again = await reappraise(record, kept, message && policyOf(message));
    return output(record, again, kept.cmwCollection.length > 0);
  },
});

function output(record: LogRecord, again: Reappraisal, isKept: boolean) {
  const { result, failure, reasons, differences } = again;
  const decided = record.code === undefined ? 'granted' : `refused ${record.code}`;
  const then =
    record.code === undefined ? [] : [`${record.code}: ${errorTable[record.code].meaning}`];
  const checks = (record.failedChecks ?? []).map(({ code, message }) => `  ${code}: ${message}`);
  const appraised = isKept
    ? ((result && appraisalText(result)) ??
      `the evidence does not verify: ${failure?.message ?? ''}`)
    : noEvidence(record);
  const same = differences.length === 0;
  return {
    json: {
      index: record.index,
      time: new Date(record.time).toISOString(),
      operation: record.operation,
      granted: record.code === undefined,
      code: record.code ?? null,
      actor: record.actor ?? null,
      level: record.level ?? null,
      svn: record.svn ?? null,
      svn_floor: record.svnFloor ?? null,
      policy: record.policyId ?? null,
      policy_version: record.policyVersion ?? null,
      failed_checks: (record.failedChecks ?? []).map(({ code, message }) => ({ code, message })),
      reappraised: result === undefined ? null : appraisalJson(result),
      failure: failure === undefined ? null : { code: failure.code, message: failure.message },
      reasons,
      differences,
      follows: same,
    },
    text: [
      fields([
        ['record', `${record.index}, ${new Date(record.time).toISOString()}`],
        ['decided', `${record.operation} ${decided}`],
        ['by', record.actor ?? '-'],
        ['cvm', record.cvmName ?? '-'],
        ['key', record.keyId === undefined ? '-' : toHex(record.keyId)],
        ['evidence', record.evidenceFormat ?? '-'],
        ['policy', record.policyId ? `${record.policyId} version ${record.policyVersion}` : '-'],
      ]),
      ...then,
      ...checks,
      `taken again: ${appraised}`,
      ...reasons.map((reason) => `because: ${reason}`),
      ...(same ? ['the decision follows'] : differences.map((one) => `DIFFERENT: ${one}`)),
    ].join('\n'),
    exitCode: same ? (0 as const) : (1 as const),
  };
}

function noEvidence({ evidenceDigest }: LogRecord): string {
  return evidenceDigest === undefined
    ? 'it rests on no evidence'
    : 'the evidence is not kept (any more); its digest is in the record';
}
