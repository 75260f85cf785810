import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import {
  demandCurrent,
  grant,
  makeOffer,
  type OfferLimits,
  type WantedLaunch,
} from '#server/cvm-platform/features.js';
import { fakeCapabilities } from '../../fakes/host-driver.js';
import { refusalOf } from '../../refusal.js';

const limits: OfferLimits = {
  vcpusMax: 4,
  memoryMibMax: 4096,
  diskMibMax: 1024,
  cvmsMax: 8,
  firmwareBytesMax: 1024,
};
const offer = makeOffer([fakeCapabilities], limits);

const wanted: WantedLaunch = {
  tee: 'sev-snp',
  vcpus: 0,
  memoryMib: 0,
  vcpuType: '',
  imageDigest: new Uint8Array(32),
  secureBoot: false,
  liveMigration: false,
  auxilaryFirmware: new Uint8Array(),
  bios: new Map(),
  svn: 0,
  snp: undefined,
  configDocument: new Uint8Array([0xa0]),
  keyServerAddress: 'localhost:7443',
  keyId: new Uint8Array(),
  diskMib: 0,
};

const none = new Uint8Array();
const auth = new Uint8Array(4096);

function idBlock(svn: number, policy = 0x30000n): Uint8Array {
  const block = new Uint8Array(96);
  const view = new DataView(block.buffer);
  view.setUint32(84, svn, true);
  view.setBigUint64(88, policy, true);
  return block;
}

const policy = (guestPolicy: bigint) => ({ guestPolicy, idBlock: none, idAuth: none });

/** What a grant is refused with, and the field that it names. */
function refused(change: Partial<WantedLaunch>, from = offer): string {
  try {
    grant(from, { ...wanted, ...change });
  } catch (error) {
    if (error instanceof CvmpError) return `${error.code} ${error.field}`;
    throw error;
  }
  return 'granted';
}

describe('the offer (draft s.3.1)', () => {
  test('its id follows everything that is offered', () => {
    const ids = [
      offer,
      makeOffer([{ ...fakeCapabilities, product: 'Turin' }], limits),
      makeOffer([fakeCapabilities], { ...limits, vcpusMax: 5 }),
      makeOffer(
        [{ ...fakeCapabilities, snpTcb: { ...fakeCapabilities.snpTcb!, snp: 24 } }],
        limits,
      ),
      makeOffer([], limits),
    ].map(({ featureSetId }) => featureSetId.join());
    expect(new Set(ids).size).toBe(ids.length);
    expect(makeOffer([fakeCapabilities], limits).featureSetId).toEqual(offer.featureSetId);
  });

  test('a request that builds on another offer is refused', async () => {
    const stale = crypto.randomBytes(32);
    expect(await refusalOf(() => demandCurrent(offer, stale))).toBe('FEATURE_SET_STALE');
    expect(await refusalOf(() => demandCurrent(offer, offer.featureSetId))).toBe('accepted');
  });
});

describe('requested features: exactly what is asked for, or nothing', () => {
  test('what is not said takes the defaults', () => {
    expect(grant(offer, wanted)).toMatchObject({
      vcpus: 1,
      memoryMib: 512,
      vcpuType: 'EPYC-v4',
      diskMib: 64,
      snp: { guestPolicy: 0x30000n },
    });
  });

  test('what is said is granted as it was said', () => {
    const firmware = new Uint8Array(1024).fill(1);
    const spec = grant(offer, {
      ...wanted,
      vcpus: 4,
      memoryMib: 4096,
      vcpuType: 'EPYC-Genoa',
      diskMib: 1024,
      auxilaryFirmware: firmware,
      svn: 3,
      snp: { guestPolicy: 0x130000n, idBlock: idBlock(3, 0x130000n), idAuth: auth },
      keyId: new Uint8Array(16).fill(1),
    });
    expect(spec).toMatchObject({
      vcpus: 4,
      memoryMib: 4096,
      vcpuType: 'EPYC-Genoa',
      diskMib: 1024,
      firmwareDigest: crypto.hash('sha256', firmware),
      svn: 3,
      snp: { guestPolicy: 0x130000n, id: { auth } },
      keyId: new Uint8Array(16).fill(1),
    });
  });

  test.each<[string, Partial<WantedLaunch>]>([
    ['FEATURE_UNSUPPORTED tee', { tee: 'tdx' }],
    ['FEATURE_UNSUPPORTED features.secure_boot', { secureBoot: true }],
    ['FEATURE_UNSUPPORTED features.live_migration', { liveMigration: true }],
    ['FEATURE_UNSUPPORTED features.auxilary_firmware', { auxilaryFirmware: new Uint8Array(1025) }],
    ['FEATURE_UNSUPPORTED features.bios["boot"]', { bios: new Map([['boot', 'disk']]) }],
    ['FEATURE_UNSUPPORTED shape.vcpus', { vcpus: 5 }],
    ['FEATURE_UNSUPPORTED shape.memory_mib', { memoryMib: 4097 }],
    ['FEATURE_UNSUPPORTED shape.vcpu_type', { vcpuType: 'EPYC-v9' }],
    ['FEATURE_UNSUPPORTED disk_mib', { diskMib: 1025 }],
    ['FEATURE_UNSUPPORTED disk_mib', { diskMib: 7 }],
    ['INVALID_FIELD features.svn', { svn: 1 }],
    [
      'INVALID_FIELD features.svn',
      { svn: 1, snp: { guestPolicy: 0n, idBlock: idBlock(2), idAuth: auth } },
    ],
    [
      'INVALID_FIELD snp.guest_policy',
      { snp: { guestPolicy: 0x130000n, idBlock: idBlock(0), idAuth: auth } },
    ],
    ['INVALID_FIELD snp.id_auth', { snp: { guestPolicy: 0n, idBlock: idBlock(0), idAuth: none } }],
    ['INVALID_FIELD snp.id_block', { snp: { guestPolicy: 0n, idBlock: none, idAuth: auth } }],
    ['POLICY_DEBUG snp.guest_policy', { snp: policy(0xb0000n) }],
    ['FEATURE_UNSUPPORTED snp.guest_policy', { snp: policy(0x70000n) }],
    ['INVALID_FIELD snp.guest_policy', { snp: policy(0x10000n) }],
    ['INVALID_FIELD snp.guest_policy', { snp: policy(0x30000n | (1n << 26n)) }],
    ['INVALID_FIELD snp.guest_policy', { snp: policy(0x30000n | (1n << 63n)) }],
  ])('%s', (refusal, change) => {
    expect(refused(change)).toBe(refusal);
  });

  test('where a TEE lacks a feature altogether, asking for it names it', () => {
    const poor = makeOffer(
      [{ ...fakeCapabilities, idBlock: false, firmwareFormats: [], configDigestBytes: 0 }],
      limits,
    );
    const snp = { guestPolicy: 0n, idBlock: idBlock(0), idAuth: auth };
    expect(refused({ snp }, poor)).toBe('FEATURE_UNSUPPORTED snp.id_block');
    expect(refused({ svn: 1 }, poor)).toBe('FEATURE_UNSUPPORTED features.svn');
    expect(refused({ auxilaryFirmware: new Uint8Array(1) }, poor)).toBe(
      'FEATURE_UNSUPPORTED features.auxilary_firmware',
    );
    expect(refused({}, poor)).toBe('FEATURE_UNSUPPORTED config_document');
    const tdx = makeOffer([{ ...fakeCapabilities, tee: 'tdx' }], limits);
    expect(refused({ tee: 'tdx', snp: policy(0n) }, tdx)).toBe('FEATURE_UNSUPPORTED snp');
    expect(refused({ tee: 'tdx' }, tdx)).toBe('granted');
  });
});
