import { describe, expect, test } from 'vitest';
import { encode } from '#core/cbor/encode.js';
import { type CborKey, type CborValue, Tag } from '#core/cbor/value.js';
import type { CcaReference } from '#core/cca/rules.js';
import { parseComid, parseCorim } from '#core/corim/corim.js';
import { type ImportedReferences, referencesOf } from '#core/corim/references/import.js';
import type { ReferenceMeasurement } from '#core/snp/rules.js';
import type { TdxReference } from '#core/tdx/rules.js';
import type { TpmReference } from '#core/tpm/rules.js';
import {
  comid,
  corim,
  digest,
  environment,
  hashed,
  map,
  measured,
  oid,
  tagged,
  time,
} from '../../fakes/corim.js';

const snp = environment({ classId: oid('1.3.6.1.4.1.3704.3.1') });
const tdx = environment({ vendor: 'Intel Corporation', model: 'TDX TD' });
const tpm = environment({ vendor: 'TCG', model: 'TPM 2.0' });
const realm = environment({ vendor: 'Arm', model: 'CCA realm' });

type Entries = readonly (readonly [CborKey, CborValue])[];
const from = (triples: Entries) => referencesOf(parseComid(encode(comid(triples))));
const reference = (...triples: readonly CborValue[]): ImportedReferences => from([[0, triples]]);
const measurement = (fill: number, more: Entries = [], key: CborValue = 641) =>
  measured([[2, [hashed(digest(fill))]], ...more], key);

describe('SEV-SNP (draft-deeglaze-amd-sev-snp-corim-profile)', () => {
  test('MEASUREMENT with its SVN is a reference as the rules of SNP take it', () => {
    const found = reference([snp, [measurement(1, [[1, new Tag(552, 4)]])]]).snp;
    const taken: readonly ReferenceMeasurement[] = found.measurements;
    expect(taken).toEqual([{ digest: digest(1), imageSvn: 4, name: 'test-comid' }]);
  });

  test('policy, platform info, VMPL, ids, key digests, chip and guest SVN are rules', () => {
    const chip = digest(9, 64);
    const raw = (bytes: Uint8Array, mask?: Uint8Array) =>
      [4, mask === undefined ? new Tag(560, bytes) : new Tag(563, [bytes, mask])] as const;
    const word = (last: number) => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, last);
    const found = reference([
      environment({ classId: oid('1.3.6.1.4.1.3704.3.1') }, new Tag(560, chip)),
      [
        measurement(1),
        measured([[1, new Tag(553, 3)]], 1),
        measured([raw(word(7), word(6))], 2),
        measured([raw(digest(2, 16))], 3),
        measured([raw(digest(3, 16))], 4),
        measured([raw(Uint8Array.of(0, 0, 0, 1))], 5),
        measured([raw(word(0x20))], 7),
        measured([[2, [hashed(digest(4))]]], 643),
        measured([raw(digest(5))], 644),
        measured([raw(digest(6, 32))], 642),
      ],
    ]);
    expect(found.snp).toMatchObject({
      guestSvnMin: 3,
      guestPolicy: { mask: 6n, value: 6n },
      platformInfo: { mask: 0xffff_ffff_ffff_ffffn, value: 0x20n },
      vmpl: 1,
      familyId: digest(2, 16),
      imageId: digest(3, 16),
      idKeyDigests: [digest(4)],
      authorKeyDigests: [digest(5)],
      chipAllow: [chip],
    });
    expect(found.notes).toEqual(['test-comid: element 642 of a report is no rule of a policy']);
  });

  test('a class of a cloud provider names it', () => {
    const csp = environment(
      { classId: oid('1.3.6.1.4.1.3704.3.2') },
      new Tag(560, new TextEncoder().encode('a-cloud')),
    );
    expect(reference([csp, [measurement(1)]]).snp.cspIds).toEqual(['a-cloud']);
  });
});

describe('TDX (draft-cds-rats-intel-corim-profile)', () => {
  test('MRTD and RTMRs, by keys or by integrity registers', () => {
    const registers = map(['rtmr0', [hashed(digest(2))]], ['RTMR1', [hashed(digest(3))]]);
    const found = reference([
      tdx,
      [measurement(1, [[1, 5]], 'mrtd'), measured([[14, registers]])],
    ]).tdx;
    const taken: readonly TdxReference[] = found;
    expect(taken).toEqual([
      {
        mrTd: digest(1),
        rtmr: [digest(2), digest(3), undefined, undefined],
        imageSvn: 5,
        name: 'test-comid',
      },
    ]);
  });

  test("Intel's own member for MRTD, under Intel's arc", () => {
    const td = environment({ classId: oid('2.16.840.1.113741.1.5.3.6.6') });
    const found = reference([td, [measured([[-83, [7, digest(1)]]])]]);
    expect(found.tdx[0]?.mrTd).toEqual(digest(1));
  });
});

describe('TPM', () => {
  test('PCRs by integrity registers, of one bank', () => {
    const registers = map(
      [4, [hashed(digest(4, 32)), hashed(digest(5))]],
      ['pcr11', [hashed(digest(11, 32))]],
      [40, [hashed(digest(1, 32))]],
    );
    const found = reference([tpm, [measured([[14, registers]])]]).tpm;
    const taken: readonly TpmReference[] = found;
    expect(taken).toHaveLength(1);
    expect(found[0]?.bank).toBe('sha256');
    expect([...found[0]!.pcrs]).toEqual([
      [4, digest(4, 32)],
      [11, digest(11, 32)],
    ]);
  });

  test('a PCR with two values in one bank is ambiguous', () => {
    const registers = map([4, [hashed(digest(4, 32)), hashed(digest(5, 32))]]);
    const found = reference([tpm, [measured([[14, registers]])]]);
    expect(found.tpm).toEqual([]);
    expect(found.notes).toEqual(['test-comid: no PCR with one value']);
  });
});

describe('Arm CCA (draft-ydb-rats-cca-endorsements)', () => {
  test('RIM and REMs of a realm', () => {
    const found = reference([
      realm,
      [
        measurement(1, [], 'cca.rim'),
        measurement(2, [], 'cca.rem0'),
        measurement(3, [], 'cca.rem2'),
      ],
    ]).cca;
    const taken: readonly CcaReference[] = found;
    expect(taken[0]).toMatchObject({
      initialMeasurement: digest(1),
      extensibleMeasurements: [digest(2), undefined, digest(3), undefined],
    });
  });

  test('a profile says what a triple is of; platforms give firmware and signers', () => {
    const platform = environment({ classId: new Tag(560, digest(1, 32)) });
    const component = measured(
      [
        [2, [hashed(digest(2, 32))]],
        [13, [new Tag(560, digest(3, 32))]],
      ],
      'cca.software-component',
    );
    const config = measured([[4, new Tag(560, digest(4, 8))]], 'cca.platform-config');
    const bytes = corim(
      [tagged(comid([[0, [[platform, [component, config]]]]]))],
      [[3, new Tag(32, 'tag:arm.com,2025:cca_platform#1.0.0')]],
    );
    expect(referencesOf(parseCorim(bytes)).ccaPlatform).toEqual([
      {
        implementations: [digest(1, 32)],
        firmware: [digest(2, 32)],
        firmwareSigners: [digest(3, 32)],
        configs: [digest(4, 8)],
      },
    ]);
  });
});

describe('endorsements (draft-ietf-rats-corim s.5.1.4)', () => {
  const two = [0, [[snp, [measurement(1), measurement(2)]]]] as const;
  const svn = (value: number) => measured([[1, new Tag(552, value)]]);
  const svns = (triples: Entries) =>
    from([two, ...triples]).snp.measurements.map(({ imageSvn }) => imageSvn);

  test('a series gives each measurement the SVN of the first record that selects it', () => {
    const record = (fill: number, value: number) => [[measurement(fill)], [svn(value)]];
    const series = [
      [snp, []],
      [record(1, 3), record(2, 5), record(1, 9)],
    ];
    expect(svns([[8, [series]]])).toEqual([3, 5]);
  });

  test('a conditional endorsement with one condition gives its SVN', () => {
    const conditional = [[[snp, [measurement(2)]]], [[snp, [svn(7)]]]];
    expect(svns([[10, [conditional]]])).toEqual([0, 7]);
  });

  test('an endorsement of the environment gives its SVN to all of it', () => {
    expect(svns([[1, [[snp, [svn(6)]]]]])).toEqual([6, 6]);
    const others = environment({ classId: oid('1.3.6.1.4.1.3704.3.2') });
    expect(svns([[1, [[others, [svn(6)]]]]])).toEqual([0, 0]);
  });

  test('what holds for one authority only is not taken', () => {
    const key = [new Tag(554, 'key')];
    const series = [[snp, [], key], [[[measurement(1)], [svn(3)]]]];
    expect(svns([[8, [series]]])).toEqual([0, 0]);
  });
});

describe('nothing is widened', () => {
  const good = measurement(1);
  test.each<[string, CborValue, string]>([
    [
      'for one authority',
      [snp, [measured([[2, [hashed(digest(1))]]], 641, [new Tag(554, 'key')])]],
      'authority',
    ],
    ['for debugging', [snp, [measurement(1, [[3, map([3, true])]])]], 'debugging'],
    [
      'of one group',
      [map([0, map([0, oid('1.3.6.1.4.1.3704.3.1')])], [2, new Tag(37, digest(1, 16))]), [good]],
      'group',
    ],
    ['of no known class', [environment({ vendor: 'ACME' }), [good]], 'of no format'],
    [
      'without a digest that evidence has',
      [snp, [measured([[2, [[1, digest(1, 32)]]]], 641)]],
      'SHA-384',
    ],
  ])('a measurement %s is noted and left out', (_what, triple, why) => {
    const found = reference(triple);
    expect(found.snp.measurements).toEqual([]);
    expect(found.notes.join()).toContain(why);
  });

  const named = (id: string, fill: number, links: Entries = []) =>
    tagged(map([1, map([0, id])], ...links, [4, map([0, [[snp, [measurement(fill)]]]])]));
  const digests = (tags: readonly CborValue[]) =>
    referencesOf(parseCorim(corim(tags))).snp.measurements.map((one) => one.digest[0]);

  test('a tag that another replaces is left out', () => {
    const newer = named('new', 2, [[3, [map([0, 'old'], [1, 1])]]]);
    expect(digests([named('old', 1), newer])).toEqual([2]);
  });

  test('s.6: tags that are not among the active ones are left out', () => {
    const list = map([0, map([0, 'l'])], [1, [map([0, 'new'])]], [2, map([1, time(4e9)])]);
    expect(digests([named('old', 1), named('new', 2), tagged(list, 508)])).toEqual([2]);
  });
});
