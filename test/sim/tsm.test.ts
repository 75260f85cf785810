import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TsmFileOps } from '#agent/attester/tsm.js';
import { socketTsm } from '#agent/attester/tsm-socket.js';
import { fromUtf8, utf8 } from '#core/bytes.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { parseReport } from '#core/snp/parse.js';
import { parseServicesManifest, vtpmServiceGuid } from '#core/svsm/manifest.js';
import { crypto } from '#crypto';
import type { SimulatedGuest } from '#sim/guest.js';
import { SimulatedSvsm } from '#sim/svsm.js';
import { SimulatedTsm, type TsmOptions } from '#sim/tsm.js';
import { serveTsm, type TsmServer } from '#sim/tsm-server.js';
import { launchTestGuest, simulatedProcessor } from '../fakes/simulated-hardware.js';
import { temporaryFolder } from '../run-folder.js';

let guest: SimulatedGuest;
beforeAll(async () => {
  guest = await launchTestGuest(await simulatedProcessor());
});

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** The errno of an operation, or undefined where it succeeds. */
async function errno(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );
}

type Make = (options?: TsmOptions & { absent?: boolean }) => Promise<TsmFileOps>;

const inMemory: Make = async ({ absent, ...options } = {}) =>
  new SimulatedTsm(absent ? undefined : guest, options);

const onSocket: Make = async (options) => {
  const path = join(temporaryFolder('tsm'), 's');
  const server: TsmServer = await serveTsm((await inMemory(options)) as SimulatedTsm, path);
  const client = socketTsm(path);
  ends.push(
    () => server.close(),
    () => client.close(),
  );
  return client;
};

const reportData = new Uint8Array(64).fill(9);

describe.each<[how: string, make: Make]>([
  ['in memory', inMemory],
  ['through a unix socket, as the Key Agent reaches it', onSocket],
])('configfs-tsm %s (Documentation/ABI/testing/configfs-tsm-report)', (_, make) => {
  it('gives a report over inblob, and the certificate table', async () => {
    const tsm = await make();
    await tsm.mkdir('r');
    await tsm.writeFile('r/inblob', reportData);
    const report = parseReport(await tsm.readFile('r/outblob'));
    expect(report.reportData).toEqual(reportData);
    expect(report.measurement).toEqual(guest.measurement);
    const table = parseCertTable(await tsm.readFile('r/auxblob'));
    expect(table.map(({ kind }) => kind)).toEqual(['VCEK', 'ASK', 'ARK']);
    expect(fromUtf8(await tsm.readFile('r/provider'))).toBe('sev_guest\n');
    await tsm.rmdir('r');
    expect(await errno(tsm.readFile('r/outblob'))).toBe('ENOENT');
  });

  it('counts a generation for each change, and keeps a report until then', async () => {
    const tsm = await make();
    await tsm.mkdir('r');
    const generation = async () => fromUtf8(await tsm.readFile('r/generation'));
    expect(await generation()).toBe('0\n');
    await tsm.writeFile('r/inblob', reportData);
    expect(await generation()).toBe('1\n');
    const first = await tsm.readFile('r/outblob');
    expect(await tsm.readFile('r/outblob')).toEqual(first);
    expect(await generation()).toBe('1\n');
    await tsm.writeFile('r/privlevel', utf8('2'));
    expect(await generation()).toBe('2\n');
    expect(parseReport(await tsm.readFile('r/outblob')).vmpl).toBe(2);
  });

  it('an empty write of inblob is nothing at close', async () => {
    const tsm = await make();
    await tsm.mkdir('r');
    await tsm.writeFile('r/inblob', new Uint8Array());
    expect(fromUtf8(await tsm.readFile('r/generation'))).toBe('0\n');
    expect(await errno(tsm.readFile('r/outblob'))).toBe('EINVAL');
  });

  it.each<[what: string, code: string, work: (tsm: TsmFileOps) => Promise<unknown>]>([
    ['outblob before inblob', 'EINVAL', (t) => t.readFile('r/outblob')],
    ['auxblob before inblob', 'EINVAL', (t) => t.readFile('r/auxblob')],
    ['an inblob of 65 bytes', 'EFBIG', (t) => t.writeFile('r/inblob', new Uint8Array(65))],
    ['reading what is write-only', 'EACCES', (t) => t.readFile('r/inblob')],
    ['writing what is read-only', 'EACCES', (t) => t.writeFile('r/outblob', reportData)],
    ['an unknown attribute', 'ENOENT', (t) => t.readFile('r/nothing')],
    ['an attribute of Object', 'ENOENT', (t) => t.readFile('r/constructor')],
    ['another folder', 'ENOENT', (t) => t.readFile('s/outblob')],
    ['a folder that is there', 'EEXIST', (t) => t.mkdir('r')],
    ['a folder in a folder', 'EPERM', (t) => t.mkdir('r/s')],
    ['removing what is not there', 'ENOENT', (t) => t.rmdir('s')],
    ['a privlevel above 3', 'EINVAL', (t) => t.writeFile('r/privlevel', utf8('4'))],
    ['a privlevel below the floor', 'EINVAL', (t) => t.writeFile('r/privlevel', utf8('0'))],
    ['a privlevel that is no number', 'EINVAL', (t) => t.writeFile('r/privlevel', utf8('x'))],
  ])('%s: %s', async (_what, code, work) => {
    const tsm = await make({ privlevelFloor: 1 });
    await tsm.mkdir('r');
    expect(await errno(work(tsm))).toBe(code);
  });

  it('a report needs 64 bytes and a privlevel at the floor', async () => {
    const tsm = await make({ privlevelFloor: 1 });
    await tsm.mkdir('r');
    await tsm.writeFile('r/inblob', reportData);
    expect(await errno(tsm.readFile('r/outblob'))).toBe('EIO');
    await tsm.writeFile('r/privlevel', utf8('1\n'));
    expect(await errno(tsm.readFile('r/outblob'))).toBeUndefined();
    await tsm.writeFile('r/inblob', reportData.slice(1));
    expect(await errno(tsm.readFile('r/outblob'))).toBe('EINVAL');
    expect(fromUtf8(await tsm.readFile('r/privlevel_floor'))).toBe('1\n');
  });

  it('without hardware no folder can be made', async () => {
    expect(await errno((await make({ absent: true })).mkdir('r'))).toBe('ENXIO');
  });

  it('a host may supply no certificates, or false ones', async () => {
    const tsm = await make({ auxblob: () => new Uint8Array() });
    await tsm.mkdir('r');
    await tsm.writeFile('r/inblob', reportData);
    expect(await tsm.readFile('r/auxblob')).toEqual(new Uint8Array());
  });
});

describe('TSM server', () => {
  async function served() {
    const path = join(temporaryFolder('tsm'), 's');
    const tsm = new SimulatedTsm(guest);
    const server = await serveTsm(tsm, path);
    ends.push(() => server.close());
    return { path, tsm };
  }

  it('ends a connection that sends no frames of the protocol, and lives', async () => {
    const { path } = await served();
    for (const bytes of [Uint8Array.of(0, 0, 0, 1, 0xff), new Uint8Array(8).fill(0xff)]) {
      const socket = connect(path);
      await new Promise<void>((resolve) => {
        socket.on('close', () => resolve());
        socket.write(bytes);
      });
    }
    const client = socketTsm(path);
    await client.mkdir('r');
    client.close();
  });

  it('folders of a connection go with it', async () => {
    const { path, tsm } = await served();
    const client = socketTsm(path);
    await client.mkdir('r');
    expect(tsm.size).toBe(1);
    client.close();
    await expect.poll(() => tsm.size).toBe(0);
  });
});

describe('service_provider svsm (Documentation/ABI/testing/configfs-tsm-report)', () => {
  const manifest = Uint8Array.of(0x00, 0x23, 1, 2);
  const make = async () => {
    const services = [{ guid: vtpmServiceGuid, manifest }];
    const tsm = new SimulatedTsm(new SimulatedSvsm(guest, services));
    await tsm.mkdir('r');
    await tsm.writeFile('r/inblob', reportData);
    return tsm;
  };
  const write = (tsm: SimulatedTsm, attribute: string, text: string) =>
    tsm.writeFile(`r/${attribute}`, utf8(text));

  it('the report is of VMPL 0, over inblob and all services', async () => {
    const tsm = await make();
    await write(tsm, 'service_provider', 'svsm\n');
    const blob = await tsm.readFile('r/manifestblob');
    const report = parseReport(await tsm.readFile('r/outblob'));
    expect(parseServicesManifest(blob)).toEqual([{ guid: vtpmServiceGuid, manifest }]);
    expect(report.vmpl).toBe(0);
    expect(report.reportData).toEqual(crypto.hash('sha512', reportData, blob));
    expect(parseCertTable(await tsm.readFile('r/auxblob'))).toHaveLength(3);
    expect(fromUtf8(await tsm.readFile('r/generation'))).toBe('2\n');
  });

  it('or over one service', async () => {
    const tsm = await make();
    await write(tsm, 'service_provider', 'svsm');
    await write(tsm, 'service_guid', vtpmServiceGuid);
    await write(tsm, 'service_manifest_version', '0\n');
    expect(await tsm.readFile('r/manifestblob')).toEqual(manifest);
  });

  it('an unknown service or version gives EINVAL when the report is read', async () => {
    for (const [attribute, text] of [
      ['service_guid', '01234567-0123-0123-0123-0123456789ab'],
      ['service_manifest_version', '2'],
    ] as const) {
      const tsm = await make();
      await write(tsm, 'service_provider', 'svsm');
      await write(tsm, attribute, text);
      expect(await errno(tsm.readFile('r/outblob'))).toBe('EINVAL');
    }
    const tsm = await make();
    expect(await errno(write(tsm, 'service_provider', 'other'))).toBe('EINVAL');
    expect(await errno(write(tsm, 'service_guid', 'vtpm'))).toBe('EINVAL');
    expect(await errno(write(tsm, 'service_manifest_version', '-1'))).toBe('EINVAL');
  });

  it('a plain report has an empty manifest; without an SVSM the files are not there', async () => {
    const tsm = await make();
    expect(await tsm.readFile('r/manifestblob')).toEqual(new Uint8Array());
    const bare = new SimulatedTsm(guest);
    await bare.mkdir('r');
    expect(await errno(write(bare, 'service_provider', 'svsm'))).toBe('ENOENT');
    expect(await errno(bare.readFile('r/manifestblob'))).toBe('ENOENT');
  });
});
