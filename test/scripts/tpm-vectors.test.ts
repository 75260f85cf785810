import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { parseQuote } from '#core/tpm/attest.js';
import { toPem } from '#core/x509/pem.js';
import { eventLogJson, quoteFieldsJson } from '../../scripts/vectors/judges/tpm/fields.js';
import { judges } from '../../scripts/vectors/judges.js';
import { summarise } from '../../scripts/vectors/report.js';
import { judgeAll } from '../../scripts/vectors/run.js';
import { eventLog, pcrsAfter, soundBoot } from '../fakes/event-log.js';
import { FakeTpm } from '../fakes/tpm.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';

describe.skipIf(sharedVectors() === undefined)('TPM and RTMRs (needs ../shared/vectors)', () => {
  it.each(['tpm', 'measure/tdx-dstack-eventlog', 'measure/tdx-gcp-cos113'])(
    '%s gives what every file says',
    async (folder) => {
      const report = summarise(await judgeAll(join(sharedVectors()!, folder), judges));
      expect(report.mismatches).toEqual([]);
      expect(report.notJudged).toEqual([]);
      expect(report.kinds.every((kind) => kind.total > 0)).toBe(true);
    },
  );
});

describe('the judges of TPM cases, on self-made ones', () => {
  const boot = soundBoot();
  const tpm = new FakeTpm('rsa');
  const pcrs = pcrsAfter(boot);
  const attest = tpm.attest(pcrs);
  const json = (values: ReadonlyMap<number, Uint8Array>) =>
    JSON.stringify({
      sha256: Object.fromEntries([...values].map(([pcr, value]) => [pcr, toHex(value)])),
    });
  const write = (expected: object, files: Readonly<Record<string, Uint8Array | string>>) => {
    const root = temporaryFolder('tpm');
    writeFileSync(join(root, 'expected.json'), JSON.stringify(expected));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    return root;
  };

  it('a quote, its negatives, and a wrong expectation', async () => {
    const negative = (file: string, replaces: string, reason: string) => ({
      file,
      replaces,
      verdict: 'reject',
      reason_class: reason,
    });
    const root = write(
      {
        kind: 'tpm-quote',
        fields: quoteFieldsJson(parseQuote(attest)),
        signature_format: 'TPMT_SIGNATURE',
        verdict: 'accept',
        negatives: [
          negative('pcrs.changed.json', 'pcrs.json', 'pcr-digest-mismatch'),
          negative('signature.other', 'quote_signature.bin', 'signature-invalid'),
          negative('signature.other', 'quote_signature.bin', 'malformed'),
          negative('signature.other', 'quote_signature.bin', 'signature-invalid-or-malformed'),
        ],
      },
      {
        'quote_message.bin': attest,
        'quote_signature.bin': tpm.sign(attest),
        'signature.other': new FakeTpm('rsa').sign(attest),
        'pcrs.json': json(pcrs),
        'pcrs.changed.json': json(pcrsAfter([])),
        'ak_pub.pem': toPem('PUBLIC KEY', tpm.akSpki),
      },
    );
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches.map(({ actual }) => actual)).toEqual(['reject (signature-invalid)']);
    expect(report.kinds[0]).toMatchObject({ total: 6, asExpected: 5 });
  });

  it('event logs, also of the SHA-1 bank that core does not believe', async () => {
    const log = eventLog(boot, ['sha1', 'sha384']);
    const good = eventLogJson(parseEventLog(log), log.length);
    const sha1 = pcrsAfter(boot, 'sha1');
    const held = Object.fromEntries([0, 4, 7].map((pcr) => [pcr, toHex(sha1.get(pcr)!)]));
    const logs = {
      'good.bin': { ...good, replayed_pcrs: { sha1: held } },
      'wrong.bin': { ...good, events_after_header: 1 },
    };
    const root = write({ kind: 'tcg-event-logs', logs }, { 'good.bin': log, 'wrong.bin': log });
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches.map((m) => m.case)).toEqual(['wrong.bin']);
  });
});
