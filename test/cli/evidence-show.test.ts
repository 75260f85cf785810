import { truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { reportTree } from '#cli/evidence/show/snp.js';
import { toHex } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { reportFields, reportLength } from '#core/snp/layout.js';
import { parseReport } from '#core/snp/parse.js';
import { encodeTcb } from '#core/snp/product.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';

/** A report of version 3 whose byte fields hold their own offset, all of a Turin. */
function sampleReport(): Uint8Array {
  const report = new Uint8Array(reportLength);
  for (const [name, { offset, length }] of Object.entries(reportFields)) {
    if (length >= 16) report.fill(offset & 0xff, offset, offset + length);
    const tcb = { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 5 };
    if (name.endsWith('_TCB')) report.set(encodeTcb('Turin', tcb), offset);
  }
  report.set([3], reportFields.VERSION.offset);
  report.set([0x1f, 0, 0x0b], reportFields.POLICY.offset);
  report.set([0x1a, 0x02, 1], reportFields.CPUID_FAM_ID.offset);
  return report;
}

describe('evidence show', () => {
  test('shows every field of a report under the name of the ABI', async () => {
    const file = join(temporaryFolder('evidence'), 'report.bin');
    writeFileSync(file, sampleReport());
    const { code, json } = await commandLine(['evidence', 'show', file, '--json']);
    expect(code).toBe(0);
    const { report } = json() as { report: Record<string, unknown> };
    for (const [name, { offset, length }] of Object.entries(reportFields)) {
      if (length >= 16) {
        expect(report[name]).toBe(toHex(new Uint8Array(length).fill(offset & 0xff)));
      }
    }
    expect(report).toMatchObject({
      VERSION: 3,
      POLICY: { value: '0xb001f', abi: '0.31', flags: 'SMT RESERVED_ONE DEBUG' },
      CPUID: { product: 'Turin', family: '0x1a' },
      KEY_INFO: { SIGNING_KEY: 'VCEK' },
      SIGNATURE: 'zero',
    });
  });

  test('TCB versions are read by the layout of the product, also from a Buffer', () => {
    const tcb = { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 5 };
    const tree = reportTree(parseReport(Buffer.from(sampleReport())));
    for (const name of ['CURRENT_TCB', 'REPORTED_TCB', 'COMMITTED_TCB', 'LAUNCH_TCB']) {
      expect(tree[name]).toEqual(tcb);
    }
  });

  test('a collection shows the same report; people get lines', async () => {
    const file = join(temporaryFolder('evidence'), 'web.evidence');
    writeFileSync(file, encodeCmw(snpCollection(sampleReport(), new Uint8Array())));
    const { terminal } = await commandLine(['evidence', 'show', file]);
    expect(terminal.stdout).toMatch(/MEASUREMENT: +(90){48}\n/);
    expect(terminal.stdout).toContain('Nothing of this is verified');
  });

  test('what is no evidence is refused, what is not there is wrong usage', async () => {
    const file = join(temporaryFolder('evidence'), 'x');
    for (const bytes of [
      new Uint8Array(),
      new Uint8Array(reportLength - 1),
      Buffer.from('hello'),
    ]) {
      writeFileSync(file, bytes);
      const { code, terminal } = await commandLine(['evidence', 'show', file]);
      expect(code).toBe(1);
      expect(terminal.stderr).toContain('MALFORMED neither an attestation report (1184 bytes)');
    }
    for (const [place, why] of [
      ['/nowhere', 'there is no such file'],
      [dirname(file), 'it is a folder'],
    ] as const) {
      const { code, terminal } = await commandLine(['evidence', 'show', place]);
      expect(code).toBe(2);
      expect(terminal.stderr).toContain(`USAGE cannot read ${place}: ${why}`);
    }
  });

  test.each([
    '{"sha256": null}',
    '{"sha256": 5}',
    '{"sha256": {}}',
    '{"sha256": {"24": ""}}',
    '{"sha256": {"x": "00"}}',
    '{"sha256": [1]}',
    '[null]',
    'null',
  ])('JSON that only looks like PCR values is refused: %s', async (text) => {
    const file = join(temporaryFolder('evidence'), 'pcrs.json');
    writeFileSync(file, text);
    for (const verb of ['show', 'verify']) {
      const { code, terminal } = await commandLine(['evidence', verb, file]);
      expect(code).toBe(1);
      expect(terminal.stdout + terminal.stderr).toContain('MALFORMED');
    }
  });

  test('an empty file is called so, and what is more than a file can be is not read', async () => {
    const file = join(temporaryFolder('evidence'), 'x');
    writeFileSync(file, '');
    expect((await commandLine(['evidence', 'verify', file])).terminal.stdout).toContain(
      'it is empty',
    );
    truncateSync(file, 2 ** 31);
    const { code, terminal } = await commandLine(['evidence', 'verify', file]);
    expect([code, terminal.stderr]).toEqual([2, expect.stringContaining('2147483648 bytes')]);
  });
});
