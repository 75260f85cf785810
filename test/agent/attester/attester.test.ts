import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkOwnReport, openAttester } from '#agent/attester/attester.js';
import { openTsmAttester, type TsmAttesterConfig } from '#agent/attester/tsm-attester.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { schemes } from '#core/schemes.js';
import { crypto } from '#crypto';
import { encodeReport } from '#sim/report.js';
import { FakeCca } from '../../fakes/cca.js';
import { InterceptedTsm, type Interference, plainTsm } from '../../fakes/configfs-tsm.js';
import { eventLog, soundBoot } from '../../fakes/event-log.js';
import { FakeIntel } from '../../fakes/intel.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const configDocument = crypto.randomBytes(100);
const sleep = () => Promise.resolve();
const options = { configDocument, randomBytes: crypto.randomBytes, sleep };
const reportData = crypto.randomBytes(64);
const open = (interference: Interference, config: Partial<TsmAttesterConfig> = {}) =>
  openTsmAttester(new InterceptedTsm(interference), { ...plainTsm, ...config }, options);

let intel: FakeIntel;
let cca: FakeCca;
beforeAll(async () => {
  [intel, cca] = await Promise.all([FakeIntel.create(), FakeCca.create()]);
});

interface Guest {
  readonly format: string;
  readonly name: 'sev_guest' | 'tdx_guest' | 'arm_cca_guest';
  readonly hash: 'sha256' | 'sha384' | 'sha512';
  /** Evidence of this guest over report data, which binds a digest of the config document. */
  readonly make: (data: Uint8Array, digest: Uint8Array) => Promise<Uint8Array>;
}

const guests: readonly Guest[] = [
  {
    format: 'snp',
    name: 'sev_guest',
    hash: 'sha256',
    make: async (data, hostData) =>
      encodeReport({ VERSION: 5, REPORT_DATA: data, HOST_DATA: hostData }),
  },
  {
    format: 'tdx',
    name: 'tdx_guest',
    hash: 'sha384',
    make: (data, mrConfigId) => intel.quote({ td: { reportData: data, mrConfigId } }),
  },
  {
    format: 'cca',
    name: 'arm_cca_guest',
    hash: 'sha512',
    make: (challenge, value) => cca.token({ realm: { 10: challenge, 44235: value } }),
  },
];

const guestOf = (
  { name, hash, make }: Guest,
  document = configDocument,
  data?: Uint8Array,
): Interference => ({
  provider: { name },
  report: (asked) => make(data ?? asked, crypto.hash(hash, document)),
});

describe.each(guests)('$format evidence by $name', (guest) => {
  test('is a CMW collection that its scheme alone takes, over the data asked for', async () => {
    const attester = await open(guestOf(guest));
    expect(attester.profiles).toEqual([guest.format]);
    const collection = decodeCmw(await attester.evidence(reportData));
    const [scheme, ...others] = schemes.filter((s) => s.admits(collection));
    expect(scheme?.format).toBe(guest.format);
    expect(others).toEqual([]);
    expect(() => scheme?.parse(collection)).not.toThrow();
  });

  test('that binds another config document is CONFIG_MISMATCH, before anybody is spoken to', async () => {
    const other = await open(guestOf(guest, crypto.randomBytes(9)));
    expect(await refusalOf(checkOwnReport(other, crypto.randomBytes))).toBe('CONFIG_MISMATCH');
  });

  test('that binds this config document is taken', async () => {
    const own = await open(guestOf(guest));
    expect(await refusalOf(checkOwnReport(own, crypto.randomBytes))).toBe('accepted');
  });

  test('over other data is refused', async () => {
    const other = await open(guestOf(guest, configDocument, crypto.randomBytes(64)));
    expect(await refusalOf(other.evidence(reportData))).toBe('TSM_BUSY');
  });

  test('that is none is refused', async () => {
    const broken = { provider: { name: guest.name }, report: () => new Uint8Array(1183) };
    expect(await refusalOf((await open(broken)).evidence(reportData))).toBe('TSM_UNAVAILABLE');
  });

  test('where the configuration names another guest module is refused', async () => {
    for (const { name } of guests) {
      const opened = open(guestOf(guest), { provider: name });
      expect(await refusalOf(opened)).toBe(name === guest.name ? 'accepted' : 'TSM_UNAVAILABLE');
    }
  });
});

describe('configfs-tsm of other guests', () => {
  test('a guest module that CVMP does not know is refused by name', async () => {
    const instead = (path: string) => (path.endsWith('/provider') ? 'new_guest\n' : undefined);
    await expect(open({ instead })).rejects.toMatchObject({
      code: 'TSM_UNAVAILABLE',
      field: 'provider',
    });
  });

  test('one that changes between start and report is refused', async () => {
    let reads = 0;
    const instead = (path: string) =>
      path.endsWith('/provider') && reads++ > 0 ? 'tdx_guest\n' : undefined;
    const hostData = crypto.hash('sha256', configDocument);
    const attester = await open({ instead, hostData }, { provider: 'sev_guest' });
    expect(await refusalOf(attester.evidence(reportData))).toBe('TSM_UNAVAILABLE');
  });

  test('a VMPL is refused by a TD, which has none', async () => {
    const attester = await open(guestOf(guests[1]!), { privlevel: 0 });
    const refused = attester.evidence(reportData);
    await expect(refused).rejects.toMatchObject({ code: 'TSM_UNAVAILABLE', field: 'privlevel' });
  });
});

describe('the CC event log of a TD', () => {
  const file = join(temporaryFolder('ccel'), 'CCEL');
  const labels = async (config: Partial<TsmAttesterConfig>) =>
    [...decodeCmw(await (await open(guestOf(guests[1]!), config)).evidence(reportData))].map(
      ([label]) => label,
    );

  test('goes along where the firmware made one', async () => {
    writeFileSync(file, eventLog(soundBoot()));
    const evidence = await (await open(guestOf(guests[1]!), { eventLogFile: file })).evidence(
      reportData,
    );
    const record = decodeCmw(evidence).get('log-ccel');
    expect(record?.value).toEqual(new Uint8Array(readFileSync(file)));
  });

  test('is left out where there is none', async () => {
    expect(await labels({})).toEqual(['tdx']);
  });

  test('that cannot be read is a fault', async () => {
    expect(await refusalOf(labels({ eventLogFile: temporaryFolder('folder') }))).toBe(
      'TSM_UNAVAILABLE',
    );
  });

  test('of more than 512 KiB is refused', async () => {
    writeFileSync(file, new Uint8Array(512 * 1024 + 1));
    expect(await refusalOf(labels({ eventLogFile: file }))).toBe('TSM_UNAVAILABLE');
  });
});

describe('the attester of the configuration', () => {
  test('fails at once where there is no TSM', async () => {
    const tsm = { ...plainTsm, kind: 'configfs', path: '/nonexistent/tsm/report' } as const;
    const opened = openAttester({ tsm, tpm: undefined, stateDir: '/nonexistent' }, options);
    expect(await refusalOf(opened)).toBe('TSM_UNAVAILABLE');
  });
});

describe('report data of evidence for the tenant (draft-00 s.2.4)', () => {
  test('depends on the nonce and the config document, and has 64 bytes', () => {
    const nonce = crypto.randomBytes(32);
    const all = [
      tenantVerifyReportData(nonce, configDocument),
      tenantVerifyReportData(crypto.randomBytes(32), configDocument),
      tenantVerifyReportData(nonce, crypto.randomBytes(100)),
    ];
    expect(all.map((data) => data.length)).toEqual([64, 64, 64]);
    expect(new Set(all.map((data) => Buffer.from(data).toString('hex'))).size).toBe(3);
  });

  test('is SHA-512 of the deterministic CBOR of label, nonce and digest', () => {
    const nonce = new Uint8Array(32);
    const digest = crypto.hash('sha256', new Uint8Array([0xa0]));
    const label = new TextEncoder().encode('CVMP/1 tenant-verify');
    const cbor = [0x83, 0x74, ...label, 0x58, 32, ...nonce, 0x58, 32, ...digest];
    expect(tenantVerifyReportData(nonce, new Uint8Array([0xa0]))).toEqual(
      crypto.hash('sha512', new Uint8Array(cbor)),
    );
  });
});
