import { beforeAll, describe, expect, it } from 'vitest';
import { concat } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import type { Endorsements, TrustAnchor } from '#core/rats/endorsements.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { amdRoots } from '#core/snp/endorsement/trust-anchors.js';
import {
  guestPolicyBits,
  type ReportFieldName,
  reportFields,
  reportLength,
  reservedRanges,
  signatureFields,
  signedLength,
} from '#core/snp/layout.js';
import { parseReport } from '#core/snp/parse.js';
import { productNames, type SnpProduct } from '#core/snp/product.js';
import { verifyReport } from '#core/snp/verify.js';
import type { ExtendedReport, SimulatedGuest } from '#sim/guest.js';
import { keyInfo, type ReportValues, signReport } from '#sim/report.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import {
  endorsementsOf,
  flipped,
  launchTestGuest,
  patched,
  simulatedProcessor,
  testGuestPolicy,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

const reportData = new Uint8Array(64).fill(7);

interface Machine {
  readonly processor: SecurityProcessor;
  readonly guest: SimulatedGuest;
  readonly anchors: readonly TrustAnchor[];
  readonly good: ExtendedReport;
}

const machines = new Map<SnpProduct, Machine>();
beforeAll(async () => {
  for (const product of productNames) {
    const processor = await simulatedProcessor(product);
    const guest = await launchTestGuest(processor);
    const good = await guest.report({ reportData, vmpl: 0 });
    machines.set(product, {
      processor,
      guest,
      good,
      anchors: [processor.chip.authority.anchor],
    });
  }
});

const machine = (product: SnpProduct = 'Genoa') => machines.get(product)!;

function verify(
  { anchors }: Machine,
  report: Uint8Array,
  endorsements: Endorsements,
  at = testTime,
): Promise<SnpClaims> {
  return (async () => verifyReport(parseReport(report), endorsements, anchors, at))();
}

/** The outcome of a report with these fields falsified and signed by the chip. */
async function forged(overrides: ReportValues, product: SnpProduct = 'Genoa') {
  const m = machine(product);
  const { report, certTable } = await m.guest.report({ reportData, vmpl: 0, overrides });
  return refusalOf(verify(m, report, endorsementsOf(certTable)));
}

describe('a genuine report', () => {
  it.each(productNames)(
    'of %s is accepted, and its claims are what was launched',
    async (product) => {
      const m = machine(product);
      const claims = await verify(m, m.good.report, endorsementsOf(m.good.certTable));
      expect(claims).toMatchObject({
        format: 'snp',
        product,
        simulated: true,
        signingKey: 'VCEK',
        reportData,
        launchMeasurement: m.guest.measurement,
        chipId: m.processor.chip.chipId,
        reportedTcb: m.processor.settings.tcb,
        configBinding: { field: 'HOST_DATA', hash: 'sha256' },
      });
    },
  );

  it('signed by a VLEK is accepted, and names the provider in place of the chip', async () => {
    const m = machine();
    m.processor.configure({ cspId: 'CN=provider' });
    const { report, certTable } = await m.guest.report({ reportData, vmpl: 0 });
    m.processor.configure({ cspId: undefined });
    const claims = await verify(m, report, endorsementsOf(certTable));
    expect(claims).toMatchObject({ signingKey: 'VLEK', cspId: 'CN=provider', chipId: undefined });
  });

  it.each([2, 3, 4, 5])('of version %i is accepted on Genoa', async (VERSION) => {
    expect(await forged({ VERSION })).toBe('accepted');
  });

  it('is refused under the roots of AMD alone: it is simulated', async () => {
    const m = { ...machine(), anchors: amdRoots };
    const { report, certTable } = m.good;
    expect(await refusalOf(verify(m, report, endorsementsOf(certTable)))).toBe('UNTRUSTED_ROOT');
  });

  it('is refused under an anchor of another evidence format', async () => {
    const m = machine();
    const anchors = m.anchors.map((anchor) => ({ ...anchor, format: 'tpm' }));
    const outcome = verify({ ...m, anchors }, m.good.report, endorsementsOf(m.good.certTable));
    expect(await refusalOf(outcome)).toBe('UNTRUSTED_ROOT');
  });
});

describe('a report that was changed after it was signed', () => {
  /** Fields that say how to verify, and so are looked at before the signature. */
  const early: Partial<Record<ReportFieldName, ErrorCode>> = {
    VERSION: 'EVIDENCE_SIGNATURE_INVALID',
    SIGNATURE_ALGO: 'UNSUPPORTED_SIGNATURE_ALGO',
  };

  it.each(Object.keys(reportFields) as ReportFieldName[])(
    'is refused for each byte of %s',
    async (name) => {
      const m = machine();
      const { offset, length } = reportFields[name];
      for (let i = 0; i < length; i++) {
        const changed = flipped(m.good.report, offset + i, name === 'KEY_INFO' ? 0x20 : 0x01);
        const outcome = await refusalOf(verify(m, changed, endorsementsOf(m.good.certTable)));
        const expected =
          name === 'VERSION' && i > 0
            ? 'UNSUPPORTED_VERSION'
            : (early[name] ?? 'EVIDENCE_SIGNATURE_INVALID');
        expect(`${name}[${i}] ${outcome}`).toBe(`${name}[${i}] ${expected}`);
      }
    },
  );

  it('is refused for every reserved byte, and for every byte of R and S', async () => {
    const m = machine();
    const ends = signatureFields.S.offset + signatureFields.S.length;
    const named = new Set(
      Object.values(reportFields).flatMap(({ offset, length }) =>
        Array.from({ length }, (_, i) => offset + i),
      ),
    );
    for (let at = 0; at < ends; at++) {
      if (named.has(at)) continue;
      const changed = flipped(m.good.report, at);
      const outcome = await refusalOf(verify(m, changed, endorsementsOf(m.good.certTable)));
      expect(`${at} ${outcome}`).toBe(`${at} EVIDENCE_SIGNATURE_INVALID`);
    }
  });

  it('may have anything behind R and S: those bytes mean nothing and are not signed', async () => {
    const m = machine();
    const changed = flipped(m.good.report, reportLength - 1);
    expect(await refusalOf(verify(m, changed, endorsementsOf(m.good.certTable)))).toBe('accepted');
  });

  it('with R and S big-endian, zero, or swapped is refused', async () => {
    const m = machine();
    const { R, S } = signatureFields;
    const part = ({ offset, length }: { offset: number; length: number }) =>
      m.good.report.slice(offset, offset + length);
    const [r, s] = [part(R), part(S)];
    const bigEndian = (field: Uint8Array) =>
      concat(field.slice(0, 48).reverse(), new Uint8Array(24));
    for (const signature of [
      concat(bigEndian(r), bigEndian(s)),
      new Uint8Array(144),
      concat(s, r),
      concat(r, new Uint8Array(72)),
      new Uint8Array(144).fill(0xff),
    ]) {
      const changed = patched(m.good.report, signedLength, ...signature);
      const outcome = await refusalOf(verify(m, changed, endorsementsOf(m.good.certTable)));
      expect(outcome).toBe('EVIDENCE_SIGNATURE_INVALID');
    }
  });

  it('by truncation or extension is malformed', async () => {
    const m = machine();
    const longer = concat(m.good.report, Uint8Array.of(0));
    for (const changed of [
      m.good.report.subarray(0, 1183),
      m.good.report.subarray(0, 672),
      longer,
    ]) {
      const outcome = await refusalOf(verify(m, changed, endorsementsOf(m.good.certTable)));
      expect(outcome).toBe('MALFORMED');
    }
  });
});

describe('a report that a real key signed over false fields (protocol.md s.2.1)', () => {
  const vcek = { signingKey: 'VCEK' } as const;
  const rows: [
    why: string,
    code: ErrorCode,
    overrides: () => ReportValues,
    product?: SnpProduct,
  ][] = [
    ['version 0', 'UNSUPPORTED_VERSION', () => ({ VERSION: 0 })],
    ['version 1', 'UNSUPPORTED_VERSION', () => ({ VERSION: 1 })],
    ['version 6', 'UNSUPPORTED_VERSION', () => ({ VERSION: 6 })],
    ['SIGNATURE_ALGO 0', 'UNSUPPORTED_SIGNATURE_ALGO', () => ({ SIGNATURE_ALGO: 0 })],
    ['SIGNATURE_ALGO 2', 'UNSUPPORTED_SIGNATURE_ALGO', () => ({ SIGNATURE_ALGO: 2 })],
    [
      'SIGNING_KEY none',
      'WRONG_SIGNING_KEY',
      () => ({ KEY_INFO: keyInfo({ signingKey: 'none' }) }),
    ],
    ['SIGNING_KEY 3 (reserved)', 'WRONG_SIGNING_KEY', () => ({ KEY_INFO: 3 << 2 })],
    [
      'SIGNING_KEY VLEK under a VCEK',
      'WRONG_SIGNING_KEY',
      () => ({ KEY_INFO: keyInfo({ signingKey: 'VLEK' }) }),
    ],
    [
      'MASK_CHIP_KEY under a VCEK',
      'CHIP_ID_MISMATCH',
      () => ({ KEY_INFO: keyInfo({ ...vcek, maskChipKey: true }), CHIP_ID: new Uint8Array(64) }),
    ],
    [
      'MASK_CHIP_KEY with the right chip',
      'CHIP_ID_MISMATCH',
      () => ({ KEY_INFO: keyInfo({ ...vcek, maskChipKey: true }) }),
    ],
    ['reserved bits of KEY_INFO', 'MALFORMED', () => ({ KEY_INFO: 1 << 5 })],
    ['policy bit 17 clear', 'MALFORMED', () => ({ POLICY: guestPolicyBits.SMT })],
    ['policy bit 26', 'MALFORMED', () => ({ POLICY: testGuestPolicy | (1n << 26n) })],
    ['policy bit 63', 'MALFORMED', () => ({ POLICY: testGuestPolicy | (1n << 63n) })],
    ['another chip', 'CHIP_ID_MISMATCH', () => ({ CHIP_ID: new Uint8Array(64).fill(1) })],
    ['no chip', 'CHIP_ID_MISMATCH', () => ({ CHIP_ID: new Uint8Array(64) })],
    ['CPUID of another product', 'PRODUCT_MISMATCH', () => ({ CPUID_MOD_ID: 0x01 })],
    [
      'CPUID of no known product',
      'PRODUCT_MISMATCH',
      () => ({ CPUID_FAM_ID: 0x1a, CPUID_MOD_ID: 0x50 }),
    ],
    ['version 2 of a Turin', 'PRODUCT_MISMATCH', () => ({ VERSION: 2 }), 'Turin'],
    [
      'REPORTED_TCB above the certificate',
      'TCB_MISMATCH',
      () => ({ REPORTED_TCB: tcb({ microcode: 255 }) }),
    ],
    [
      'REPORTED_TCB below the certificate',
      'TCB_MISMATCH',
      () => ({ REPORTED_TCB: tcb({ snp: 0 }) }),
    ],
    [
      'COMMITTED_TCB below REPORTED_TCB',
      'TCB_MISMATCH',
      () => ({ COMMITTED_TCB: tcb({ bootloader: 1 }) }),
    ],
    [
      'CURRENT_TCB below COMMITTED_TCB',
      'TCB_MISMATCH',
      () => ({ CURRENT_TCB: tcb({ microcode: 1 }) }),
    ],
    ['reserved bytes of a TCB', 'MALFORMED', () => ({ LAUNCH_TCB: patched(tcb({}), 3, 1) })],
    [
      'the TCB layout of a Genoa in a Turin',
      'MALFORMED',
      () => ({ CURRENT_TCB: tcb({}) }),
      'Turin',
    ],
  ];
  it.each(rows)('%s: %s', async (_, code, overrides, product) => {
    expect(await forged(overrides(), product)).toBe(code);
  });

  function tcb(change: Partial<Record<'bootloader' | 'tee' | 'snp' | 'microcode', number>>) {
    const { bootloader, tee, snp, microcode } = { ...machine().processor.settings.tcb, ...change };
    return Uint8Array.of(bootloader, tee, 0, 0, 0, 0, snp, microcode);
  }

  it('all-zero report data is no fault of the report', async () => {
    expect(await forged({ REPORT_DATA: new Uint8Array(64) })).toBe('accepted');
  });

  it('the debug bit is for the policy to refuse', async () => {
    expect(await forged({ POLICY: testGuestPolicy | guestPolicyBits.DEBUG })).toBe('accepted');
  });
});

describe('reserved bytes that a real key signed', () => {
  const rows = [
    ...reservedRanges.map(({ offset }) => [5, offset] as const),
    [4, reportFields.LAUNCH_MIT_VECTOR.offset] as const,
    [3, reportFields.CURRENT_MIT_VECTOR.offset] as const,
    [2, reportFields.CPUID_STEP.offset] as const,
  ];
  it.each(rows)('version %i: byte %i must be zero', async (VERSION, offset) => {
    const m = machine();
    const made = await m.guest.report({ reportData, vmpl: 0, overrides: { VERSION } });
    const { key } = await m.processor.chip.vcek(m.processor.settings.tcb);
    const report = await signReport(flipped(made.report, offset), key);
    expect(await refusalOf(verify(m, report, endorsementsOf(made.certTable)))).toBe('MALFORMED');
  });
});
