import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { checkPolicy, checkSuccessor } from '#core/keying/policy-rules.js';
import { appraise } from '#core/rats/appraise.js';
import type { Claims } from '#core/rats/claims.js';
import type { AnyScheme } from '#core/rats/scheme.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { productNames, type SnpTcb } from '#core/snp/product.js';
import { snpScheme } from '#core/snp/scheme.js';
import type { TdxClaims } from '#core/tdx/claims.js';
import { tcbStatuses } from '#core/tdx/endorsement/tcb-status.js';
import { defaultRules as tdxDefaults } from '#core/tdx/rules.js';
import { tdxScheme } from '#core/tdx/scheme.js';
import { knownFormats } from '#wire/policy.js';
import { refusalAtOnce } from '../../refusal.js';
import { claims, makeClaims, rules } from '../snp/made.js';
import { madePolicy } from './made.js';

beforeAll(makeClaims);

const statuses = tcbStatuses.filter((status) => status !== 'Revoked');
const images = [1, 2].map((byte) => new Uint8Array(48).fill(byte));
const digest = new Uint8Array(32).fill(3);

/** A format, with what its levels may ask and what its evidence may show. */
interface Format {
  readonly scheme: AnyScheme;
  readonly level: fc.Arbitrary<unknown>;
  readonly rules: fc.Arbitrary<unknown>;
  readonly claims: fc.Arbitrary<() => Claims>;
}

const component = fc.nat(2);
const tcb: fc.Arbitrary<SnpTcb> = fc.record({
  fmc: component,
  bootloader: component,
  tee: component,
  snp: component,
  microcode: component,
});
const imageSvns = fc.tuple(fc.nat(2), fc.nat(2));

const snp: Format = {
  scheme: snpScheme as unknown as AnyScheme,
  level: fc.record({
    tcbMin: fc.uniqueArray(
      fc.record({
        product: fc.constantFrom(...productNames),
        tcb,
        committed: fc.option(tcb, { nil: undefined }),
        launch: fc.option(tcb, { nil: undefined }),
      }),
      { selector: (row) => row.product, maxLength: 2 },
    ),
    guestSvnMin: fc.nat(2),
    imageSvnMin: fc.nat(2),
    mitigationVector: fc.bigInt(0n, 3n),
    firmwareMin: fc.option(
      fc.record({ major: fc.constant(1), minor: fc.nat(2), build: fc.nat(1) }),
      { nil: undefined },
    ),
  }),
  rules: imageSvns.map((svns) =>
    rules({
      products: [...productNames],
      measurements: images.map((image, i) => ({ digest: image, imageSvn: svns[i]!, name: '' })),
    }),
  ),
  claims: fc
    .record({
      product: fc.constantFrom(...productNames),
      image: fc.constantFrom(...images),
      reportedTcb: tcb,
      committedTcb: tcb,
      launchTcb: tcb,
      guestSvn: fc.nat(2),
      mitigations: fc.tuple(fc.bigInt(0n, 3n), fc.bigInt(0n, 3n)),
      minor: fc.nat(2),
    })
    .map((shown) => (): SnpClaims => {
      const { product, image, guestSvn, mitigations, minor, ...tcbs } = shown;
      const firmware = { major: 1, minor, build: 0 };
      return claims({
        ...tcbs,
        product,
        report: {
          measurement: image,
          guestSvn,
          launchMitVector: mitigations[0],
          currentMitVector: mitigations[1],
          currentFirmware: firmware,
          committedFirmware: firmware,
        },
      });
    }),
};

const reference = (image: Uint8Array, imageSvn: number) => ({
  mrTd: image,
  rtmr: [undefined, undefined, undefined, undefined] as const,
  imageSvn,
  name: '',
});

const tdx: Format = {
  scheme: tdxScheme as unknown as AnyScheme,
  level: fc.record({
    statuses: fc.subarray(statuses),
    tcbDateMin: fc.nat(2),
    evaluationNumberMin: fc.nat(2),
    imageSvnMin: fc.nat(2),
    modulesMin: fc.uniqueArray(
      fc.record({ version: fc.nat(1), svn: fc.integer({ min: 1, max: 3 }) }),
      {
        selector: (row) => row.version,
      },
    ),
    advisoriesClosed: fc.subarray(['SA-1', 'SA-2']),
  }),
  rules: imageSvns.map((svns) => ({
    ...tdxDefaults,
    statuses,
    allowSeptVe: true,
    advisoriesAccepted: ['SA-1', 'SA-2'].map((id) => ({ id, until: undefined })),
    references: images.map((image, i) => reference(image, svns[i]!)),
  })),
  claims: fc
    .record({
      image: fc.constantFrom(...images),
      status: fc.constantFrom(...statuses),
      tcbDate: fc.nat(2),
      evaluationNumber: fc.nat(2),
      module: fc.tuple(fc.nat(3), fc.nat(1)),
      advisoryIds: fc.subarray(['SA-1', 'SA-2']),
    })
    .map(({ image, module, ...shown }) => (): TdxClaims => {
      const td = {
        teeTcbSvn: Uint8Array.of(...module, ...new Uint8Array(14)),
        mrTd: image,
        rtmr: [0, 1, 2, 3].map(() => new Uint8Array(48)),
        tdAttributes: 0n,
        xfam: 0n,
        mrServiceTd: undefined,
        mrSeam: new Uint8Array(48),
      };
      const platform = { ppid: new Uint8Array(16), fmspc: new Uint8Array(6) };
      return {
        format: 'tdx',
        simulated: false,
        evaluatedAt: 0,
        quote: { td },
        platform,
        tcb: shown,
        measurements: { explained: [], secureBoot: undefined },
      } as unknown as TdxClaims;
    }),
};

const formats: [string, Format][] = [
  ['snp', snp],
  ['tdx', tdx],
];

function policyOf(format: string, levels: readonly unknown[], asked: unknown): KeyingPolicy {
  return madePolicy({
    appraisal: {
      allowSimulated: true,
      channelBinding: 'required',
      formats: new Map([[format, asked]]),
    },
    levels: levels.map((rule, i) => ({
      n: i + 1,
      name: '',
      formats: new Map([[format, rule]]),
    })),
  });
}

function levelUnder(scheme: AnyScheme, shown: Claims, { appraisal, levels }: KeyingPolicy): number {
  return appraise({ scheme, claims: shown }, { ...appraisal, levels }).level;
}

describe.each(formats)('levels of %s (protocol.md s.6.4)', (name, { scheme, ...any }) => {
  const anyPolicy = fc
    .tuple(fc.array(any.level, { minLength: 1, maxLength: 3 }), any.rules)
    .map(([levels, asked]) => policyOf(name, levels, asked));

  it('(1) level n+1 implies level n: whoever proves it proves those below it', () => {
    fc.assert(
      fc.property(anyPolicy, any.claims, (policy, shown) => {
        const level = levelUnder(scheme, shown(), policy);
        for (let n = 1; n <= policy.levels.length; n++) {
          const upTo = { ...policy, levels: policy.levels.slice(0, n) };
          expect(levelUnder(scheme, shown(), upTo)).toBe(Math.min(level, n));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('(2) what an accepted next version admits at n, the version before admitted at n or above', () => {
    let accepted = 0;
    // The next one is made from the one before, so that many are accepted; what is not, is no matter.
    const next = fc.tuple(anyPolicy, anyPolicy, fc.boolean(), any.claims);
    fc.assert(
      fc.property(next, ([before, made, isOwnRules, shown]) => {
        const shared = made.levels.map((level, i) =>
          i < before.levels.length && isOwnRules ? before.levels[i]! : level,
        );
        const levels = shared.length < before.levels.length ? before.levels : shared;
        const after: KeyingPolicy = {
          ...made,
          version: 2,
          prevDigest: digest,
          levels,
        };
        const isAccepted =
          refusalAtOnce(() => {
            checkPolicy(before, knownFormats);
            checkPolicy(after, knownFormats);
            checkSuccessor(before, digest, after, knownFormats);
          }) === 'accepted';
        if (!isAccepted) return;
        accepted += 1;
        const [was, is] = [before, after].map((policy) => levelUnder(scheme, shown(), policy));
        expect(Math.min(is!, before.levels.length)).toBeLessThanOrEqual(was!);
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it('an image that is admitted as before does not rise in its SVN', () => {
    fc.assert(
      fc.property(any.rules, any.rules, any.level, (one, two, level) => {
        const before = policyOf(name, [level], one);
        const after = { ...policyOf(name, [level], two), version: 2, prevDigest: digest };
        const svns = (asked: unknown) => {
          const { measurements, references } = asked as {
            measurements?: { imageSvn: number }[];
            references?: { imageSvn: number }[];
          };
          return (measurements ?? references)!.map(({ imageSvn }) => imageSvn);
        };
        const rises = svns(two).some((svn, i) => svn > svns(one)[i]!);
        const code = refusalAtOnce(() => checkSuccessor(before, digest, after, knownFormats));
        expect(code).toBe(rises ? 'POLICY_NOT_TIGHTER' : 'accepted');
      }),
      { numRuns: 200 },
    );
  });
});
