import { beforeAll, describe, expect, it } from 'vitest';
import { lacks } from '#core/snp/appraise.js';
import type { SnpClaims } from '#core/snp/claims.js';
import type { SnpLevel } from '#core/snp/rules.js';
import { bytes, claims, makeClaims, names, rules } from './made.js';

beforeAll(makeClaims);

describe('levels (protocol.md s.6.4)', () => {
  const none: SnpLevel = { tcbMin: [], guestSvnMin: 0, imageSvnMin: 0, mitigationVector: 0n };
  const tcb = () => claims().reportedTcb;
  const higher = () => ({ ...tcb(), snp: tcb().snp + 1 });
  const lower = () => ({ ...tcb(), snp: tcb().snp - 1 });
  const asks = (change: Partial<SnpLevel>): SnpLevel => ({ ...none, ...change });

  type Row = [why: string, failed: string[], () => [SnpClaims, SnpLevel]];
  const table: Row[] = [
    ['a level that asks nothing', [], () => [claims(), none]],
    [
      'a TCB that is reached exactly',
      [],
      () => [claims(), asks({ tcbMin: [{ product: 'Genoa', tcb: tcb() }] })],
    ],
    [
      'a TCB above all three',
      [
        'snp.level.reportedTcb POLICY_TCB',
        'snp.level.committedTcb POLICY_TCB',
        'snp.level.launchTcb POLICY_TCB',
      ],
      () => [claims(), asks({ tcbMin: [{ product: 'Genoa', tcb: higher() }] })],
    ],
    [
      'launched at a lower TCB',
      ['snp.level.launchTcb POLICY_TCB'],
      () => [claims({ launchTcb: lower() }), asks({ tcbMin: [{ product: 'Genoa', tcb: tcb() }] })],
    ],
    [
      'committed to a lower TCB',
      ['snp.level.committedTcb POLICY_TCB'],
      () => [
        claims({ committedTcb: lower() }),
        asks({ tcbMin: [{ product: 'Genoa', tcb: tcb() }] }),
      ],
    ],
    [
      'a higher TCB that only COMMITTED must reach',
      ['snp.level.committedTcb POLICY_TCB'],
      () => [claims(), asks({ tcbMin: [{ product: 'Genoa', tcb: tcb(), committed: higher() }] })],
    ],
    [
      'a higher TCB that only LAUNCH must reach',
      ['snp.level.launchTcb POLICY_TCB'],
      () => [claims(), asks({ tcbMin: [{ product: 'Genoa', tcb: tcb(), launch: higher() }] })],
    ],
    [
      'a launch that may be of a lower TCB',
      [],
      () => [
        claims({ launchTcb: lower() }),
        asks({ tcbMin: [{ product: 'Genoa', tcb: tcb(), launch: lower() }] }),
      ],
    ],
    [
      'firmware that is reached exactly',
      [],
      () => [claims(), asks({ firmwareMin: claims().report.committedFirmware })],
    ],
    [
      'a higher build',
      ['snp.level.firmware POLICY_TCB'],
      () => {
        const { major, minor, build } = claims().report.committedFirmware;
        return [claims(), asks({ firmwareMin: { major, minor, build: build + 1 } })];
      },
    ],
    [
      'a higher minor version with a lower build',
      ['snp.level.firmware POLICY_TCB'],
      () => {
        const { major, minor } = claims().report.committedFirmware;
        return [claims(), asks({ firmwareMin: { major, minor: minor + 1, build: 0 } })];
      },
    ],
    [
      'firmware that runs but is not committed',
      ['snp.level.firmware POLICY_TCB'],
      () => [
        claims({ report: { currentFirmware: { major: 2, minor: 0, build: 0 } } }),
        asks({ firmwareMin: { major: 2, minor: 0, build: 0 } }),
      ],
    ],
    [
      'the TCB of another product',
      [],
      () => [claims(), asks({ tcbMin: [{ product: 'Turin', tcb: higher() }] })],
    ],
    [
      'a GUEST_SVN that is not reached',
      ['snp.level.guest-svn POLICY_GUEST'],
      () => [claims({ report: { guestSvn: 4 } }), asks({ guestSvnMin: 5 })],
    ],
    [
      'a GUEST_SVN that is reached',
      [],
      () => [claims({ report: { guestSvn: 5 } }), asks({ guestSvnMin: 5 })],
    ],
    ['an image SVN that is reached', [], () => [claims(), asks({ imageSvnMin: 3 })]],
    [
      'an image SVN that is not reached',
      ['snp.level.image-svn POLICY_MEASUREMENT'],
      () => [claims(), asks({ imageSvnMin: 4 })],
    ],
    [
      'an image that is not admitted has no SVN',
      ['snp.level.image-svn POLICY_MEASUREMENT'],
      () => [claims({ report: { measurement: bytes(48) } }), asks({ imageSvnMin: 1 })],
    ],
    ['mitigations that are there', [], () => [claims(), asks({ mitigationVector: 0x0bn })]],
    [
      'mitigations that are missing',
      ['snp.level.mitigation-vector POLICY_TCB'],
      () => [claims(), asks({ mitigationVector: 0x0fn })],
    ],
    [
      'mitigations that came after the launch',
      ['snp.level.mitigation-vector POLICY_TCB'],
      () => [claims({ report: { launchMitVector: 0n } }), asks({ mitigationVector: 1n })],
    ],
  ];
  it.each(table)('%s: %j', (_, failed, make) => {
    const [given, level] = make();
    expect(names(lacks(given, rules(), level))).toEqual(failed);
  });
});
