import { beforeAll, describe, expect, it } from 'vitest';
import { signCheckpoint, signerName } from '#core/log/checkpoint.js';
import { type LogCopy, verifyLogCopy } from '#core/log/copy.js';
import { decodeLogRecord, encodeLogRecord } from '#core/log/record.js';
import { signTenantHead } from '#core/log/tenant-head.js';
import { crypto } from '#crypto';
import { firstLine, lastLine, parseLogCopy, recordLine } from '#wire/log-copy.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';
import { identity, keyServer, type OpenLog, openLog, write } from './harness.js';

/** The copy that a tenant exports, or that of an operator. */
async function copyFrom(open: OpenLog, tenantId?: string): Promise<LogCopy> {
  const checkpoint = await open.log.newest();
  const kept = undefined;
  if (tenantId === undefined) {
    const records = await open.reading.exportAll(0, 1000);
    return {
      checkpoint: checkpoint.signed,
      kept,
      tenant: undefined,
      records: records.map((record) => ({ record })),
    };
  }
  const { records, signedHead } = await open.reading.export(tenantId, 0, checkpoint.size, 1000);
  return {
    checkpoint: checkpoint.signed,
    kept,
    tenant: { tenantId, signedHead },
    records: records.map(({ record, path }) => ({ record: record.bytes, path })),
  };
}

const faultsOf = async (copy: LogCopy) =>
  (await verifyLogCopy(copy, keyServer)).faults.map(({ message }) => message).join('; ');

describe("a tenant's copy of its records (protocol.md s.6.4, s.6.5)", () => {
  let open: OpenLog;
  let copy: LogCopy;
  let kept: NonNullable<LogCopy['kept']>;

  beforeAll(async () => {
    open = await openLog(new MemoryStore());
    await write(open, 9);
    const before = await open.log.newest();
    await write(open, 20, 9);
    copy = await copyFrom(open, 'acme');
    const { size } = await open.log.newest();
    kept = { signed: before.signed, path: await open.reading.consistency(before.size, size) };
  });

  it('is accepted whole, and continues what was kept', async () => {
    expect(await faultsOf({ ...copy, kept })).toBe('');
    const { records, checkpoint } = await verifyLogCopy(copy, keyServer);
    expect(records).toHaveLength(15);
    expect(checkpoint.size).toBe(29);
  });

  it('a record that was taken out is missed, wherever it stood', async () => {
    for (let i = 0; i < copy.records.length; i++) {
      const records = copy.records.filter((_, j) => j !== i);
      const last = i === copy.records.length - 1;
      const found = await faultsOf({ ...copy, records });
      expect(found).toContain(last ? '1 records are kept back' : '1 records before it are missing');
    }
  });

  it('records that are kept back at the end are missed', async () => {
    const found = await faultsOf({ ...copy, records: copy.records.slice(0, -4) });
    expect(found).toBe('4 records are kept back: there are 15');
    expect(await faultsOf({ ...copy, records: [] })).toContain('15 records are kept back');
  });

  it('a record that was changed is told of', async () => {
    for (let i = 0; i < copy.records.length; i++) {
      const record = decodeLogRecord(copy.records[i]!.record);
      const changed = encodeLogRecord({ ...record, operation: 'attest' }, record);
      const records = copy.records.map((one, j) => (i === j ? { ...one, record: changed } : one));
      expect(await faultsOf({ ...copy, records })).toContain('not in the log of the checkpoint');
    }
  });

  it('a record that was moved, repeated or is of another tenant is told of', async () => {
    const [a, b, ...rest] = copy.records;
    expect(await faultsOf({ ...copy, records: [b!, a!, ...rest] })).toContain('out of order');
    expect(await faultsOf({ ...copy, records: [a!, a!, b!, ...rest] })).toContain('there twice');
    const foreign = await copyFrom(open, 'bolt');
    const records = [...copy.records, foreign.records.at(-1)!];
    expect(await faultsOf({ ...copy, records })).toContain('a record of bolt');
  });

  it('a path that was changed proves nothing', async () => {
    const [first, ...rest] = copy.records;
    const path = first!.path!.map((hash) => hash.map((byte) => byte ^ 1));
    const found = await faultsOf({ ...copy, records: [{ ...first!, path }, ...rest] });
    expect(found).toBe('it is not in the log of the checkpoint');
  });

  it("a server's word for another log, size or tenant counts for nothing", async () => {
    const { size, root } = await open.log.newest();
    const head = { tenantId: 'acme', size, root, sequence: 15, leaf: new Uint8Array(32) };
    const tenant = async (change: object) => ({
      tenantId: 'acme',
      signedHead: await signTenantHead(identity, signerName(identity), { ...head, ...change }),
    });
    expect(await faultsOf({ ...copy, tenant: await tenant({}) })).toContain('last record is not');
    expect(await faultsOf({ ...copy, tenant: await tenant({ size: 28 }) })).toContain('other size');
    const foreign = await tenant({ tenantId: 'bolt' });
    expect(await faultsOf({ ...copy, tenant: foreign })).toContain('told of bolt');
  });

  it('a log that does not continue what was kept is told of', async () => {
    const other = await openLog(new MemoryStore());
    await write(other, 9, 50);
    const forked = { ...kept, signed: (await other.log.newest()).signed };
    expect(await faultsOf({ ...copy, kept: forked })).toContain('rolled back');
  });

  it('what another server signed is refused', async () => {
    const stranger = await crypto.generateEcKey('P-256');
    const newest = await open.log.newest();
    const { signed } = await signCheckpoint(stranger, newest);
    const work = verifyLogCopy({ ...copy, checkpoint: signed }, keyServer);
    expect(await refusalOf(work)).toBe('SIGNATURE_INVALID');
  });

  it('comes back from its file, and a file that was cut off is none', async () => {
    const lines = [
      firstLine({ ...copy, kept }, 'acme', keyServer),
      ...copy.records.map(recordLine),
      lastLine(copy.records.length, copy.tenant!.signedHead),
    ];
    expect(parseLogCopy(`${lines.join('\n')}\n`)).toEqual({ copy: { ...copy, kept }, keyServer });
    for (const cut of [lines.slice(0, -1), lines.slice(1), [lines[0]!, ...lines.slice(2)], []]) {
      expect(await refusalOf(() => parseLogCopy(cut.join('\n')))).toBe('MALFORMED');
    }
    for (const bad of ['{', '[]', 'null', '{"record":5}']) {
      const text = [lines[0], bad, lines.at(-1)].join('\n');
      expect(await refusalOf(() => parseLogCopy(text))).toBe('MALFORMED');
    }
  });
});

describe("an operator's copy of the whole log", () => {
  it('is accepted whole; any record taken out, changed or moved shows', async () => {
    const open = await openLog(new MemoryStore());
    for (const count of [1, 7, 13]) await write(open, count);
    const copy = await copyFrom(open);
    expect(await faultsOf(copy)).toBe('');
    for (let i = 0; i < copy.records.length; i++) {
      const records = copy.records.filter((_, j) => j !== i);
      expect(await faultsOf({ ...copy, records })).not.toBe('');
    }
    const record = decodeLogRecord(copy.records[20]!.record);
    const changed = encodeLogRecord({ ...record, svn: 9 }, record);
    const records = [...copy.records.slice(0, 20), { record: changed }];
    expect(await faultsOf({ ...copy, records })).toContain('not those that the checkpoint signs');
  });

  it('is read page by page', async () => {
    const open = await openLog(new MemoryStore());
    for (const count of [1, 30, 2]) await write(open, count);
    const all = await open.reading.exportAll(0, 1000);
    expect(all).toHaveLength(33);
    for (const size of [1, 7, 32]) {
      const found: Uint8Array[] = [];
      for (let page = await open.reading.exportAll(0, size); page.length > 0; ) {
        found.push(...page);
        page = [...(await open.reading.exportAll(found.length, size))];
      }
      expect(found).toEqual(all);
    }
  });
});
