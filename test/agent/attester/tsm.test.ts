import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readTsmReport } from '#agent/attester/tsm.js';
import { fileSystemTsm } from '#agent/attester/tsm-fs.js';
import { parseReport } from '#core/snp/parse.js';
import { crypto } from '#crypto';
import { SimulatedTsm } from '#sim/tsm.js';
import { failingTsm, InterceptedTsm } from '../../fakes/configfs-tsm.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const reportData = crypto.randomBytes(64);
const randomBytes = (length: number) => crypto.randomBytes(length);
const options = { privlevel: undefined, randomBytes };

describe('configfs-tsm client (Linux ABI configfs-tsm-report)', () => {
  test('gives report, certificate table and provider, and removes its folder', async () => {
    const certTable = crypto.randomBytes(100);
    const ops = new InterceptedTsm({ certTable });
    const { provider, outblob, auxblob } = await readTsmReport(ops, reportData, options);
    expect(provider).toBe('sev_guest');
    expect(parseReport(outblob).reportData).toEqual(reportData);
    expect(auxblob).toEqual(certTable);
    expect(ops.tsm.size).toBe(0);
  });

  test('asks from the VMPL that it is told, which does not confuse the generation', async () => {
    const { outblob } = await readTsmReport(new InterceptedTsm(), reportData, {
      ...options,
      privlevel: 2,
    });
    expect(parseReport(outblob).vmpl).toBe(2);
  });

  test('a host without a certificate table, or without the file, gives an empty one', async () => {
    for (const ops of [new InterceptedTsm(), failingTsm('read', 'auxblob', 'ENOENT')]) {
      expect((await readTsmReport(ops, reportData, options)).auxblob).toEqual(new Uint8Array(0));
    }
  });

  test('folders of different requests have different names', async () => {
    const names = new Set<string>();
    const ops = new InterceptedTsm({
      before: (operation, path) => {
        if (operation === 'mkdir') names.add(path);
      },
    });
    await Promise.all([1, 2, 3].map(() => readTsmReport(ops, reportData, options)));
    expect(names.size).toBe(3);
  });

  test.each([0, 63, 65])('report data of %i bytes is a mistake of the caller', async (length) => {
    const work = readTsmReport(new InterceptedTsm(), new Uint8Array(length), options);
    await expect(work).rejects.toThrow(TypeError);
  });

  test('without a TSM in the kernel it says so', async () => {
    const work = readTsmReport(new SimulatedTsm(undefined), reportData, options);
    expect(await refusalOf(work)).toBe('TSM_UNAVAILABLE');
  });

  test.each([
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
    async (operation, file, errno, expected) => {
      const ops = failingTsm(operation, file, errno);
      expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe(expected);
      expect(ops.tsm.size).toBe(0);
    },
  );

  test('a VMPL below the floor of the guest is refused by name', async () => {
    const ops = new InterceptedTsm({}, { privlevelFloor: 2 });
    const work = readTsmReport(ops, reportData, { ...options, privlevel: 1 });
    await expect(work).rejects.toMatchObject({ code: 'TSM_UNAVAILABLE', field: 'privlevel' });
  });

  test('what passes is tried again, but not for ever', async () => {
    await readTsmReport(failingTsm('read', 'outblob', 'EBUSY', 3), reportData, options);
    const work = readTsmReport(failingTsm('read', 'outblob', 'EBUSY', 4), reportData, options);
    expect(await refusalOf(work)).toBe('TSM_BUSY');
  });

  test('a write that was lost at close() is noticed by the generation', async () => {
    const ops = new InterceptedTsm();
    // As the kernel behaves where the flush at close() fails: write and close seem to work.
    ops.writeFile = async () => {};
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_BUSY');
  });

  test.each(['outblob', 'auxblob', 'provider'])(
    'a request that somebody else changes before %s is read is noticed by the generation',
    async (file) => {
      const ops = new InterceptedTsm({
        before: async (operation, path, tsm) => {
          const [folder, name] = path.split('/');
          if (operation !== 'read' || name !== file) return;
          await tsm.writeFile(`${folder}/inblob`, crypto.randomBytes(64));
        },
      });
      expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_BUSY');
      expect(ops.tsm.size).toBe(0);
    },
  );

  test('a generation that is no number is refused', async () => {
    const ops = new InterceptedTsm({
      instead: (path) => (path.endsWith('/generation') ? 'seven\n' : undefined),
    });
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
  });

  test('a folder that cannot be removed does not cost the report', async () => {
    const ops = failingTsm('rmdir', '', 'EBUSY');
    expect((await readTsmReport(ops, reportData, options)).provider).toBe('sev_guest');
  });
});

describe('services of an SVSM by configfs-tsm (Linux 6.10)', () => {
  const guid = 'c476f1eb-0123-45a5-9641-b4e7dde5bfe3';
  const manifest = crypto.randomBytes(300);
  const asked: unknown[] = [];
  const svsm = () =>
    new InterceptedTsm({
      provider: {
        serviceReport: async (request) => {
          asked.push(request);
          return { report: new Uint8Array(1184), certTable: Uint8Array.of(1), manifest };
        },
      },
    });

  test.each([
    ['all of them', undefined, 0],
    ['one of them, in a version of its manifest', guid, 1],
  ])('%s: report, certificates and manifest come from one request', async (_, one, version) => {
    const ops = svsm();
    const service = { guid: one, manifestVersion: version };
    const report = await readTsmReport(ops, reportData, { ...options, service });
    expect(report).toMatchObject({ provider: 'sev_guest', auxblob: Uint8Array.of(1) });
    expect(report.manifestblob).toEqual(manifest);
    expect(asked.pop()).toEqual({ nonce: reportData, guid: one, manifestVersion: version });
    expect(ops.tsm.size).toBe(0);
  });

  test('without one the manifest is empty', async () => {
    expect((await readTsmReport(svsm(), reportData, options)).manifestblob).toHaveLength(0);
  });

  test('a guest without an SVSM refuses by name', async () => {
    const service = { guid: undefined, manifestVersion: 0 };
    const work = readTsmReport(new InterceptedTsm(), reportData, { ...options, service });
    await expect(work).rejects.toMatchObject({
      code: 'TSM_UNAVAILABLE',
      field: 'service_provider',
    });
  });

  test('a manifest version that somebody changes in between is noticed', async () => {
    const ops = new InterceptedTsm({
      provider: {
        serviceReport: async () => ({
          report: new Uint8Array(1184),
          certTable: new Uint8Array(0),
          manifest,
        }),
      },
      before: async (operation, path, tsm) => {
        const [folder, name] = path.split('/');
        if (operation !== 'read' || name !== 'manifestblob') return;
        await tsm.writeFile(`${folder}/service_manifest_version`, Uint8Array.of(0x37));
      },
    });
    const service = { guid: undefined, manifestVersion: 0 };
    const work = readTsmReport(ops, reportData, { ...options, service });
    expect(await refusalOf(work)).toBe('TSM_BUSY');
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
