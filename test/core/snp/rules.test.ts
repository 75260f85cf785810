import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { productNames, type SnpTcb } from '#core/snp/product.js';
import {
  defaultRules,
  type SnpLevel,
  type SnpRules,
  snpLevelRules,
  tcbFloor,
} from '#core/snp/rules.js';
import { snpWarnings } from '#core/snp/warnings.js';

const tcb = (n: number): SnpTcb => ({ fmc: n, bootloader: n, tee: n, snp: n, microcode: n });
const level = (change: Partial<SnpLevel> = {}): SnpLevel => ({
  tcbMin: [],
  guestSvnMin: 0,
  imageSvnMin: 0,
  mitigationVector: 0n,
  ...change,
});
const floors = (reported: number, committed?: number, launch?: number) => ({
  tcbMin: [
    {
      product: 'Genoa',
      tcb: tcb(reported),
      committed: committed === undefined ? undefined : tcb(committed),
      launch: launch === undefined ? undefined : tcb(launch),
    },
  ],
});
const firmware = (minor: number, build = 0) => ({ firmwareMin: { major: 1, minor, build } });
const genoa = (n: number, change: Partial<SnpTcb> = {}) => ({
  tcbMin: [{ product: 'Genoa', tcb: { ...tcb(n), ...change } }],
});

describe('level n+1 implies level n (protocol.md s.6.4 rule 1)', () => {
  it.each<[why: string, lower: SnpLevel, higher: SnpLevel, path: string | undefined]>([
    ['nothing to nothing', level(), level(), undefined],
    ['nothing to something', level(), level(genoa(3)), undefined],
    ['what a higher level does not state stays', level(genoa(3)), level(), undefined],
    ['a higher TCB', level(genoa(3)), level(genoa(4)), undefined],
    ['one lower component', level(genoa(3)), level(genoa(4, { tee: 2 })), 'tcb_min[Genoa].tee'],
    ['a lower GUEST_SVN', level({ guestSvnMin: 3 }), level({ guestSvnMin: 2 }), 'guest_svn_min'],
    ['no GUEST_SVN', level({ guestSvnMin: 3 }), level(), undefined],
    ['a lower image SVN', level({ imageSvnMin: 3 }), level({ imageSvnMin: 2 }), 'image_svn_min'],
    [
      'a missing mitigation',
      level({ mitigationVector: 3n }),
      level({ mitigationVector: 5n }),
      'mitigation_vector',
    ],
    [
      'more mitigations',
      level({ mitigationVector: 1n }),
      level({ mitigationVector: 3n }),
      undefined,
    ],
    ['a higher floor for COMMITTED', level(floors(3, 4)), level(floors(3, 5)), undefined],
    ['no floor for COMMITTED', level(floors(3, 5)), level(floors(3)), undefined],
    [
      'a lower floor for COMMITTED',
      level(floors(3, 5)),
      level(floors(3, 4)),
      'tcb_min[Genoa].committed.fmc',
    ],
    [
      'a floor for LAUNCH below that for all',
      level(floors(3)),
      level(floors(4, undefined, 2)),
      'tcb_min[Genoa].launch.fmc',
    ],
    ['a higher firmware', level(firmware(55)), level(firmware(56)), undefined],
    ['no firmware', level(firmware(55)), level(), undefined],
    ['a lower firmware', level(firmware(55, 3)), level(firmware(55, 2)), 'firmware_min'],
  ])('%s', (_, lower, higher, path) => {
    expect(snpLevelRules.decreasing(lower, higher)).toBe(path);
  });
});

describe('a new policy version never relaxes a level (protocol.md s.6.4 rule 2)', () => {
  it.each<[why: string, previous: SnpLevel[], next: SnpLevel[], path: string | undefined]>([
    ['the same', [level(genoa(3))], [level(genoa(3))], undefined],
    [
      'the same, said one level below',
      [level(), level(genoa(3))],
      [level(genoa(3)), level()],
      undefined,
    ],
    ['a component lower', [level(genoa(3))], [level(genoa(3, { snp: 2 }))], 'tcb_min[Genoa].snp'],
    ['a product left out', [level(genoa(3))], [level()], 'tcb_min[Genoa]'],
    ['a product added', [level()], [level(genoa(3))], undefined],
    ['GUEST_SVN lower', [level({ guestSvnMin: 2 })], [level({ guestSvnMin: 1 })], 'guest_svn_min'],
    ['image SVN left out', [level({ imageSvnMin: 2 })], [level()], 'image_svn_min'],
    [
      'a mitigation left out',
      [level({ mitigationVector: 3n })],
      [level({ mitigationVector: 1n })],
      'mitigation_vector',
    ],
    [
      'a floor for COMMITTED left out',
      [level(floors(3, 5))],
      [level(floors(4))],
      'tcb_min[Genoa].committed.fmc',
    ],
    [
      'a floor for COMMITTED that the next for all reaches',
      [level(floors(3, 5))],
      [level(floors(5))],
      undefined,
    ],
    [
      'a floor for LAUNCH below that for all',
      [level(floors(3))],
      [level(floors(3, undefined, 1))],
      'tcb_min[Genoa].launch.fmc',
    ],
    ['firmware left out', [level(firmware(55))], [level()], 'firmware_min'],
    [
      'firmware said one level above',
      [level(firmware(55)), level()],
      [level(), level(firmware(55))],
      undefined,
    ],
  ])('%s', (_, previous, next, path) => {
    expect(snpLevelRules.relaxed(previous, next)).toBe(path);
  });

  const anyLevel = fc.record({
    tcbMin: fc.uniqueArray(
      fc.record({
        product: fc.constantFrom(...productNames),
        tcb: fc.nat(3).map(tcb),
        committed: fc.option(fc.nat(3).map(tcb), { nil: undefined }),
        launch: fc.option(fc.nat(3).map(tcb), { nil: undefined }),
      }),
      { selector: (row) => row.product },
    ),
    guestSvnMin: fc.nat(3),
    imageSvnMin: fc.nat(3),
    mitigationVector: fc.bigInt(0n, 7n),
    firmwareMin: fc.option(fc.record({ major: fc.nat(1), minor: fc.nat(2), build: fc.nat(2) }), {
      nil: undefined,
    }),
  });
  const anyLevels = fc.array(anyLevel, { minLength: 1, maxLength: 3 });

  it('adding a level never relaxes; and relaxed is an order: reflexive and transitive', () => {
    fc.assert(
      fc.property(anyLevels, anyLevels, anyLevels, (a, b, c) => {
        expect(snpLevelRules.relaxed(a, a)).toBeUndefined();
        expect(snpLevelRules.relaxed(a, [...a, ...b])).toBeUndefined();
        const holds = (x: SnpLevel[], y: SnpLevel[]) => snpLevelRules.relaxed(x, y) === undefined;
        if (holds(a, b) && holds(b, c)) expect(holds(a, c)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('levels together ask the highest of each component', () => {
    const levels = [level(genoa(3, { snp: 9 })), level(), level(genoa(4))];
    expect(tcbFloor(levels, 'Genoa')).toEqual({ ...tcb(4), snp: 9 });
    expect(tcbFloor(levels, 'Turin')).toBeUndefined();
  });
});

describe('what a careful tenant should know of the rules', () => {
  const measured: SnpRules = {
    ...defaultRules,
    measurements: [{ digest: new Uint8Array(48), imageSvn: 0, name: '' }],
  };
  const [digest, chip] = [new Uint8Array(48), new Uint8Array(64)];
  const block = {
    measurement: digest,
    familyId: new Uint8Array(16),
    imageId: new Uint8Array(16),
    guestSvn: 1,
    guestPolicy: 0x20000n,
  };
  it.each<[string, Partial<SnpRules>, SnpLevel[], RegExp | undefined]>([
    ['the defaults', {}, [level()], undefined],
    ['a GUEST_SVN of anybody', {}, [level(), level({ guestSvnMin: 1 })], /id_key_digests/],
    ['an ID block of anybody', { idBlocks: [block] }, [], /id_key_digests/],
    ['a FAMILY_ID of anybody', { familyId: chip.slice(0, 16) }, [], /id_key_digests/],
    [
      'a GUEST_SVN of known signers',
      { idKeyDigests: [digest] },
      [level({ guestSvnMin: 1 })],
      undefined,
    ],
    ['any Milan', { products: ['Milan'] }, [], /chip_allow/],
    ['Milan chip by chip', { products: ['Milan'], chipAllow: [chip] }, [], undefined],
    ['no alias check', { allowNoAliasCheck: true }, [], /aliases/],
    ['denied chips and a VLEK', { chipDeny: [chip], cspIds: ['x'] }, [], /VLEK/],
  ])('%s', (_, change, levels, expected) => {
    const warnings = snpWarnings({ ...measured, ...change }, levels);
    expect(warnings).toHaveLength(expected === undefined ? 0 : 1);
    if (expected !== undefined) expect(warnings[0]).toMatch(expected);
  });
});
