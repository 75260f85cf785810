import { beforeAll, describe, expect, it } from 'vitest';
import { toHex, utf8 } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import {
  encodeIdBlock,
  type IdBlock,
  signIdBlock,
  snpKeyDigest,
} from '#core/snp/launch/id-block.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { guestPolicyBits, platformInfoBits } from '#core/snp/layout.js';
import { parseReport } from '#core/snp/parse.js';
import { verifyReport } from '#core/snp/verify.js';
import { crypto } from '#crypto';
import { type GuestLaunch, SecurityProcessor } from '#sim/security-processor.js';
import {
  endorsementsOf,
  flipped,
  launchTestGuest,
  simulatedProcessor,
  testConfigDocument,
  testGuestPolicy,
  testLaunchInputs,
  testTime,
} from '../fakes/simulated-hardware.js';
import { refusalOf } from '../refusal.js';

const reportData = utf8('x'.repeat(64));
const now = () => testTime;

let processor: SecurityProcessor;
beforeAll(async () => {
  processor = await simulatedProcessor();
});

const launch = (change: Partial<GuestLaunch> = {}): GuestLaunch => ({
  inputs: testLaunchInputs,
  guestPolicy: testGuestPolicy,
  hostData: crypto.hash('sha256', testConfigDocument),
  ...change,
});

describe('simulated security processor (protocol.md s.0.5)', () => {
  it('measures what it launches as a tenant predicts it', async () => {
    const guest = await processor.launch(launch());
    expect(guest.measurement).toEqual(launchMeasurement(testLaunchInputs));
    const { report } = await guest.report({ reportData, vmpl: 2 });
    expect(parseReport(report)).toMatchObject({
      measurement: guest.measurement,
      hostData: crypto.hash('sha256', testConfigDocument),
      reportData,
      vmpl: 2,
      guestPolicy: testGuestPolicy,
    });
  });

  it('each launch is another instance, each report of it the same', async () => {
    const id = async (guest: Awaited<ReturnType<typeof launchTestGuest>>) =>
      toHex(parseReport((await guest.report({ reportData, vmpl: 0 })).report).reportId);
    const guest = await launchTestGuest(processor);
    expect(await id(guest)).toBe(await id(guest));
    expect(await id(await launchTestGuest(processor))).not.toBe(await id(guest));
  });

  it('is the same chip with the same keys when it is restored', async () => {
    const restored = SecurityProcessor.restore(processor.export(), now);
    expect(restored.chip.chipId).toEqual(processor.chip.chipId);
    const { report, certTable } = await (await launchTestGuest(restored)).report({
      reportData,
      vmpl: 0,
    });
    const before = await processor.chip.vcek(processor.settings.tcb);
    const after = await restored.chip.vcek(restored.settings.tcb);
    expect(after.key.publicPoint).toEqual(before.key.publicPoint);
    const anchors = [processor.chip.authority.anchor];
    const outcome = verifyReport(parseReport(report), endorsementsOf(certTable), anchors, testTime);
    expect(await refusalOf(outcome)).toBe('accepted');
  });

  it('what was exported and then changed is refused', async () => {
    const exported = processor.export();
    for (const changed of [exported.subarray(1), exported.subarray(0, 99), flipped(exported, 0)]) {
      expect(await refusalOf(() => SecurityProcessor.restore(changed, now))).not.toBe('accepted');
    }
  });

  it('another chip has another id and other keys', async () => {
    const other = await simulatedProcessor();
    expect(other.chip.chipId).not.toEqual(processor.chip.chipId);
  });

  it('a firmware update shows in the reports, and in LAUNCH_TCB only after a launch', async () => {
    const host = await simulatedProcessor();
    const guest = await launchTestGuest(host);
    const before = host.settings.tcb;
    host.configure({ tcb: { ...before, snp: before.snp + 1 } });
    const { report, certTable } = await guest.report({ reportData, vmpl: 0 });
    const anchors = [host.chip.authority.anchor];
    const claims = await verifyReport(
      parseReport(report),
      endorsementsOf(certTable),
      anchors,
      testTime,
    );
    expect(claims.reportedTcb.snp).toBe(before.snp + 1);
    expect(claims.launchTcb.snp).toBe(before.snp);
  });

  it.each<[why: string, code: ErrorCode | 'accepted', change: () => Partial<GuestLaunch>]>([
    [
      'a guest policy without bit 17',
      'LAUNCH_REFUSED',
      () => ({ guestPolicy: guestPolicyBits.SMT }),
    ],
    [
      'reserved bits of the guest policy',
      'LAUNCH_REFUSED',
      () => ({ guestPolicy: testGuestPolicy | (1n << 40n) }),
    ],
    [
      'a guest policy that forbids SMT',
      'LAUNCH_REFUSED',
      () => ({ guestPolicy: guestPolicyBits.RESERVED_ONE }),
    ],
    [
      'a guest policy that asks for newer firmware',
      'LAUNCH_REFUSED',
      () => ({ guestPolicy: testGuestPolicy | 0x0200n }),
    ],
    [
      'a guest policy that asks for this firmware',
      'accepted',
      () => ({ guestPolicy: testGuestPolicy | 0x0137n }),
    ],
    [
      'a debug guest: the processor launches it, a verifier refuses it',
      'accepted',
      () => ({ guestPolicy: testGuestPolicy | guestPolicyBits.DEBUG }),
    ],
    ['HOST_DATA of another length', 'LAUNCH_REFUSED', () => ({ hostData: new Uint8Array(31) })],
    [
      'firmware that is none',
      'LAUNCH_REFUSED',
      () => ({ inputs: { ...testLaunchInputs, firmware: new Uint8Array(4096) } }),
    ],
    [
      'an ID block without its authentication',
      'LAUNCH_REFUSED',
      () => ({ idBlock: new Uint8Array(96) }),
    ],
    [
      'an ID block of zeros',
      'LAUNCH_REFUSED',
      () => ({ idBlock: new Uint8Array(96), idAuth: new Uint8Array(4096) }),
    ],
  ])('%s: %s', async (_, code, change) => {
    expect(await refusalOf(processor.launch(launch(change())))).toBe(code);
  });

  it('SMT may be off where the guest forbids it', async () => {
    const host = await simulatedProcessor();
    host.configure({ platformInfo: platformInfoBits.ALIAS_CHECK_COMPLETE });
    const outcome = host.launch(launch({ guestPolicy: guestPolicyBits.RESERVED_ONE }));
    expect(await refusalOf(outcome)).toBe('accepted');
  });
});

describe('launch with an ID block (SEV-SNP ABI s.8.18)', () => {
  const block = (change: Partial<IdBlock> = {}): IdBlock => ({
    measurement: launchMeasurement(testLaunchInputs),
    familyId: new Uint8Array(16).fill(1),
    imageId: new Uint8Array(16).fill(2),
    guestSvn: 7,
    guestPolicy: testGuestPolicy,
    ...change,
  });

  it('its identity and SVN are in every report', async () => {
    const [idKey, authorKey] = [
      await crypto.generateEcKey('P-384'),
      await crypto.generateEcKey('P-384'),
    ];
    const idBlock = encodeIdBlock(block());
    const idAuth = await signIdBlock(idBlock, idKey, authorKey);
    const guest = await processor.launch(launch({ idBlock, idAuth }));
    expect(parseReport((await guest.report({ reportData, vmpl: 0 })).report)).toMatchObject({
      guestSvn: 7,
      familyId: block().familyId,
      imageId: block().imageId,
      idKeyDigest: snpKeyDigest(idKey.publicPoint),
      authorKeyDigest: snpKeyDigest(authorKey.publicPoint),
      keyInfo: { authorKeyEn: true },
    });
  });

  it.each<[why: string, change: Partial<IdBlock>]>([
    ['another measurement', { measurement: new Uint8Array(48) }],
    ['another guest policy', { guestPolicy: testGuestPolicy | guestPolicyBits.DEBUG }],
  ])('of %s refuses the launch', async (_, change) => {
    const idBlock = encodeIdBlock(block(change));
    const idAuth = await signIdBlock(idBlock, await crypto.generateEcKey('P-384'));
    expect(await refusalOf(processor.launch(launch({ idBlock, idAuth })))).toBe('LAUNCH_REFUSED');
  });

  it('that somebody changed refuses the launch', async () => {
    const idBlock = encodeIdBlock(block());
    const idAuth = await signIdBlock(idBlock, await crypto.generateEcKey('P-384'));
    const changed = flipped(idBlock, 84);
    expect(await refusalOf(processor.launch(launch({ idBlock: changed, idAuth })))).toBe(
      'LAUNCH_REFUSED',
    );
  });
});
