import type { SnpClaims } from '#core/snp/claims.js';
import { parseReport, type SnpReport } from '#core/snp/parse.js';
import type { SnpProduct } from '#core/snp/product.js';
import { defaultRules, type SnpRules } from '#core/snp/rules.js';
import { verifyReport } from '#core/snp/verify.js';
import {
  endorsementsOf,
  launchTestGuest,
  simulatedProcessor,
  testTime,
} from '../../fakes/simulated-hardware.js';

const claimsOf = new Map<SnpProduct, SnpClaims>();
/** Call it in beforeAll. */
export async function makeClaims(): Promise<void> {
  for (const product of ['Genoa', 'Milan', 'Turin'] as const) {
    const processor = await simulatedProcessor(product);
    const guest = await launchTestGuest(processor);
    const { report, certTable } = await guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
    const anchors = [processor.chip.authority.anchor];
    const claims = await verifyReport(
      parseReport(report),
      endorsementsOf(certTable),
      anchors,
      testTime,
    );
    claimsOf.set(product, claims);
  }
}

type Change = Partial<Omit<SnpClaims, 'report'>> & { report?: Partial<SnpReport> };

/** Verified claims, but for what is changed. */
export function claims(change: Change = {}, product: SnpProduct = 'Genoa'): SnpClaims {
  const good = claimsOf.get(product)!;
  return { ...good, ...change, report: { ...good.report, ...change.report } };
}

/** Rules that admit the measurement, but for what is changed. */
export function rules(change: Partial<SnpRules> = {}): SnpRules {
  const digest = claimsOf.get('Genoa')!.report.measurement;
  return { ...defaultRules, measurements: [{ digest, imageSvn: 3, name: 'image' }], ...change };
}

/** `check code` of each failure. */
export const names = (failed: readonly { check: string; code: string }[]) =>
  failed.map(({ check, code }) => `${check} ${code}`);

export const bytes = (length: number, value = 1) => new Uint8Array(length).fill(value);
export const policyBits = (bits: bigint) => ({ report: { guestPolicy: 0x30000n | bits } });
