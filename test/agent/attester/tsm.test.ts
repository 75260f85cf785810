import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readTsmReport } from '#agent/attester/tsm.js';
import { fileSystemTsm } from '#agent/attester/tsm-fs.js';
import { concat } from '#core/bytes.js';
import { crypto } from '#crypto';
import { errno, FakeConfigfsTsm } from '../../fakes/configfs-tsm.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const reportData = crypto.randomBytes(64);
const randomBytes = (length: number) => crypto.randomBytes(length);
const options = { privlevel: undefined, randomBytes };

/** Fails the first `times` operations on a file, or the folder itself. */
function failing(operation: string, file: string, code: string, times = Number.POSITIVE_INFINITY) {
  let left = times;
  return new FakeConfigfsTsm({
    before: (op, path) => {
      if (op === operation && (path.split('/')[1] ?? '') === file && left-- > 0) throw errno(code);
    },
  });
}

describe('configfs-tsm client (Linux ABI configfs-tsm-report)', () => {
  test('gives report, certificate table and provider, and removes its folder', async () => {
    const auxblob = crypto.randomBytes(100);
    const tsm = new FakeConfigfsTsm({ auxblob });
    expect(await readTsmReport(tsm, reportData, options)).toEqual({
      provider: 'sev_guest',
      outblob: concat(reportData, new Uint8Array([0])),
      auxblob,
    });
    expect(tsm.folders.size).toBe(0);
  });

  test('asks from the VMPL that it is told, which does not confuse the generation', async () => {
    const tsm = new FakeConfigfsTsm();
    const { outblob } = await readTsmReport(tsm, reportData, { ...options, privlevel: 2 });
    expect(outblob.at(-1)).toBe(2);
  });

  test('a host without a certificate table, and a provider without the file, give an empty one', async () => {
    for (const provider of ['sev_guest', 'tdx_guest']) {
      const report = await readTsmReport(new FakeConfigfsTsm({ provider }), reportData, options);
      expect(report).toMatchObject({ provider, auxblob: new Uint8Array(0) });
    }
  });

  test('folders of different requests have different names', async () => {
    const names = new Set<string>();
    const tsm = new FakeConfigfsTsm({
      before: (operation, path) => {
        if (operation === 'mkdir') names.add(path);
      },
    });
    await Promise.all([1, 2, 3].map(() => readTsmReport(tsm, reportData, options)));
    expect(names.size).toBe(3);
  });

  test.each([0, 63, 65])('report data of %i bytes is a mistake of the caller', async (length) => {
    const tsm = new FakeConfigfsTsm();
    await expect(readTsmReport(tsm, new Uint8Array(length), options)).rejects.toThrow(TypeError);
  });

  test.each([
    ['mkdir', '', 'ENXIO', 'TSM_UNAVAILABLE'],
    ['mkdir', '', 'ENOENT', 'TSM_UNAVAILABLE'],
    ['mkdir', '', 'EACCES', 'TSM_UNAVAILABLE'],
    ['mkdir', '', 'EPERM', 'TSM_UNAVAILABLE'],
    ['mkdir', '', 'ECONNREFUSED', 'TSM_UNAVAILABLE'],
    ['mkdir', '', 'EEXIST', 'TSM_BUSY'],
    ['write', 'inblob', 'EFBIG', 'TSM_UNAVAILABLE'],
    ['write', 'inblob', 'EBUSY', 'TSM_BUSY'],
    ['read', 'generation', 'ENOENT', 'TSM_UNAVAILABLE'],
    ['read', 'outblob', 'EINVAL', 'TSM_UNAVAILABLE'],
    ['read', 'outblob', 'EFBIG', 'TSM_UNAVAILABLE'],
    ['read', 'outblob', 'EIO', 'TSM_UNAVAILABLE'],
    ['read', 'outblob', 'EWOULDBLOCK', 'TSM_BUSY'],
    ['read', 'outblob', 'EINTR', 'TSM_BUSY'],
    ['read', 'auxblob', 'EIO', 'TSM_UNAVAILABLE'],
    ['read', 'provider', 'EBADF', 'TSM_UNAVAILABLE'],
  ])(
    '%s %s answered by %s is %s, and the folder is removed',
    async (operation, file, code, expected) => {
      const tsm = failing(operation, file, code);
      expect(await refusalOf(readTsmReport(tsm, reportData, options))).toBe(expected);
      expect(tsm.folders.size).toBe(0);
    },
  );

  test('a VMPL below the floor of the guest is refused by name', async () => {
    const tsm = new FakeConfigfsTsm({ privlevelFloor: 2 });
    const work = readTsmReport(tsm, reportData, { ...options, privlevel: 1 });
    await expect(work).rejects.toMatchObject({ code: 'TSM_UNAVAILABLE', field: 'privlevel' });
  });

  test('what passes is tried again, but not for ever', async () => {
    await readTsmReport(failing('read', 'outblob', 'EBUSY', 3), reportData, options);
    const work = readTsmReport(failing('read', 'outblob', 'EBUSY', 4), reportData, options);
    expect(await refusalOf(work)).toBe('TSM_BUSY');
  });

  test('a write that was lost at close() is noticed by the generation', async () => {
    const tsm = new FakeConfigfsTsm({
      before: (operation, path, fake) => {
        const folder = fake.folders.get(path.split('/')[0]!);
        // The write seems to work and has no effect.
        if (operation === 'write' && folder !== undefined) folder.generation -= 1n;
      },
    });
    expect(await refusalOf(readTsmReport(tsm, reportData, options))).toBe('TSM_BUSY');
  });

  test('a request that changes while the report is read is noticed by the generation', async () => {
    const tsm = new FakeConfigfsTsm({
      before: (operation, path, fake) => {
        const folder = fake.folders.get(path.split('/')[0]!);
        if (operation === 'read' && path.endsWith('/outblob')) folder!.generation += 1n;
      },
    });
    expect(await refusalOf(readTsmReport(tsm, reportData, options))).toBe('TSM_BUSY');
  });

  test('a generation that is no number is refused', async () => {
    const tsm = new FakeConfigfsTsm();
    const ops = Object.assign(Object.create(tsm) as FakeConfigfsTsm, {
      mkdir: (path: string) => tsm.mkdir(path),
      rmdir: (path: string) => tsm.rmdir(path),
      readFile: async () => new TextEncoder().encode('seven\n'),
    });
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
  });

  test('a folder that cannot be removed does not cost the report', async () => {
    const tsm = failing('rmdir', '', 'EBUSY');
    expect((await readTsmReport(tsm, reportData, options)).provider).toBe('sev_guest');
  });
});

describe('configfs-tsm in the file system', () => {
  test('reads files to their end and writes without creating them', async () => {
    const root = temporaryFolder('tsm');
    const ops = fileSystemTsm(root);
    await ops.mkdir('a');
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
    await expect(ops.writeFile('a/inblob', reportData)).rejects.toMatchObject({ code: 'ENOENT' });
    writeFileSync(join(root, 'a/inblob'), '');
    await ops.writeFile('a/inblob', reportData);
    expect(await ops.readFile('a/inblob')).toEqual(reportData);
  });

  test('a kernel without configfs-tsm says so', async () => {
    const ops = fileSystemTsm('/nonexistent/tsm/report');
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
  });
});
