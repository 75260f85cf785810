import { beforeAll, describe, expect, it } from 'vitest';
import type { EcPrivateKey } from '#core/crypto.js';
import { appraise } from '#core/snp/appraise.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { encodeIdBlock, signIdBlock, snpKeyDigest } from '#core/snp/launch/id-block.js';
import { guestPolicyBits, platformInfoBits } from '#core/snp/layout.js';
import { parseReport, type SnpReport } from '#core/snp/parse.js';
import type { SnpRules } from '#core/snp/rules.js';
import { verifyReport } from '#core/snp/verify.js';
import { crypto } from '#crypto';
import {
  endorsementsOf,
  simulatedProcessor,
  testGuestPolicy,
  testLaunchInputs,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { bytes, claims, makeClaims, names, rules } from './made.js';

beforeAll(makeClaims);

describe('each flag has a check of its own (protocol.md s.2.1)', () => {
  const name = (flag: string) => flag.toLowerCase().replaceAll('_', '-');

  it.each(Object.entries(guestPolicyBits))('guest policy: %s', (flag, bit) => {
    const failure = [`snp.guest-policy.${name(flag)} POLICY_GUEST`];
    const guestPolicy = 0x30000n;
    const [set, clear] = [guestPolicy | bit, guestPolicy & ~bit].map((value) =>
      claims({ report: { guestPolicy: value, reportIdMa: bytes(32) } }),
    );
    const asked = (guestPolicyValue: bigint) =>
      rules({ guestPolicyMask: bit, guestPolicyValue, migrationAgents: [bytes(32)] });
    expect(names(appraise(set!, asked(bit)))).toEqual([]);
    expect(names(appraise(clear!, asked(bit)))).toEqual(failure);
    expect(names(appraise(set!, asked(0n)))).toEqual(failure);
    expect(names(appraise(clear!, asked(0n)))).toEqual([]);
  });

  it.each(Object.entries(platformInfoBits))('PLATFORM_INFO: %s', (flag, bit) => {
    const failure = [`snp.platform-info.${name(flag)} POLICY_GUEST`];
    const [set, clear] = [bit, 0n].map((platformInfo) => claims({ report: { platformInfo } }));
    const asked = (platformInfoValue: bigint) =>
      rules({ platformInfoMask: bit, platformInfoValue, allowNoAliasCheck: true });
    expect(names(appraise(set!, asked(bit)))).toEqual([]);
    expect(names(appraise(clear!, asked(bit)))).toEqual(failure);
    expect(names(appraise(set!, asked(0n)))).toEqual(failure);
    expect(names(appraise(clear!, asked(0n)))).toEqual([]);
  });
});

describe('ID blocks that a tenant admits (SEV-SNP ABI s.8.18)', () => {
  const block = () => ({
    measurement: claims().report.measurement,
    familyId: bytes(16, 5),
    imageId: bytes(16, 6),
    guestSvn: 7,
    guestPolicy: claims().report.guestPolicy,
  });
  const launched = (change: Partial<SnpReport> = {}) =>
    claims({ report: { ...block(), idKeyDigest: bytes(48), ...change } });
  const asked = () => rules({ idBlocks: [{ ...block(), guestSvn: 6 }, block()] });

  it('the report shows all that one of them says', () => {
    expect(names(appraise(launched(), asked()))).toEqual([]);
  });

  it.each<[string, Partial<SnpReport>]>([
    ['another FAMILY_ID', { familyId: bytes(16, 6) }],
    ['another IMAGE_ID', { imageId: bytes(16, 5) }],
    ['another GUEST_SVN', { guestSvn: 8 }],
    ['another POLICY', { guestPolicy: 0x20000n }],
    ['no ID key', { idKeyDigest: bytes(48, 0) }],
  ])('%s: refused', (_, change) => {
    expect(names(appraise(launched(change), asked()))).toEqual(['snp.id-block POLICY_GUEST']);
  });

  it('another measurement: refused, and not admitted by itself', () => {
    const other = launched({ measurement: bytes(48) });
    expect(names(appraise(other, asked()))).toEqual([
      'snp.measurement POLICY_MEASUREMENT',
      'snp.id-block POLICY_GUEST',
    ]);
  });
});

describe('an ID block from its signature to its appraisal', () => {
  /** Claims of a guest that was launched with an ID block by these keys. */
  async function launchedBy(idKey: EcPrivateKey, authorKey?: EcPrivateKey): Promise<SnpClaims> {
    const processor = await simulatedProcessor();
    const idBlock = encodeIdBlock(signedBlock());
    const guest = await processor.launch({
      inputs: testLaunchInputs,
      guestPolicy: testGuestPolicy,
      hostData: bytes(32),
      idBlock,
      idAuth: await signIdBlock(idBlock, idKey, authorKey),
    });
    const { report, certTable } = await guest.report({ reportData: bytes(64), vmpl: 0 });
    const anchors = [processor.chip.authority.anchor];
    return verifyReport(parseReport(report), endorsementsOf(certTable), anchors, testTime);
  }
  const signedBlock = () => ({
    measurement: claims().report.measurement,
    familyId: bytes(16, 5),
    imageId: bytes(16, 6),
    guestSvn: 7,
    guestPolicy: testGuestPolicy,
  });

  it("is the tenant's where its keys signed it", async () => {
    const [idKey, authorKey, stranger] = await Promise.all(
      [1, 2, 3].map(() => crypto.generateEcKey('P-384')),
    );
    const asked = rules({
      idBlocks: [signedBlock()],
      idKeyDigests: [snpKeyDigest(idKey!.publicPoint)],
      authorKeyDigests: [snpKeyDigest(authorKey!.publicPoint)],
    });
    const failures = async (id?: EcPrivateKey, author?: EcPrivateKey) =>
      names(appraise(await launchedBy(id!, author), asked));
    expect(await failures(idKey, authorKey)).toEqual([]);
    expect(await failures(idKey)).toEqual(['snp.author-key POLICY_GUEST']);
    expect(await failures(idKey, stranger)).toEqual(['snp.author-key POLICY_GUEST']);
    // Anybody can sign the same block; only the key tells.
    expect(await failures(stranger, authorKey)).toEqual(['snp.id-key POLICY_GUEST']);
  });
});

describe('revocation lists that a policy asks for', () => {
  const hour = 3_600_000;
  const at = Date.UTC(2026, 0, 1);
  const listed = (age: number) =>
    claims({
      revocation: { thisUpdate: at - age, nextUpdate: at + hour, checkedAt: at },
    });
  const stale = ['snp.revocation COLLATERAL_STALE'];

  it.each<[string, string[], () => SnpClaims, Partial<SnpRules>]>([
    ['none, none asked', [], () => claims(), {}],
    ['none where one is asked', stale, () => claims(), { requireCrl: true }],
    ['none where a fresh one is asked', stale, () => claims(), { crlAgeSecondsMax: 60 }],
    ['one', [], () => listed(hour), { requireCrl: true }],
    ['one that is just fresh enough', [], () => listed(hour), { crlAgeSecondsMax: 3600 }],
    ['one that is too old', stale, () => listed(hour + 1), { crlAgeSecondsMax: 3600 }],
  ])('%s', (_, failed, found, change) => {
    expect(names(appraise(found(), rules(change)))).toEqual(failed);
  });
});
