import { encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { snpCollection } from '#core/snp/evidence.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import type { BareOperations } from './bare-operations.js';
import { byTurns, type Effort, timed } from './measure.js';
import type { Cvm } from './parties/agent.js';
import type { Claim } from './report.js';

// Claim: SNP evidence costs little more than its signatures.

export async function measureVerification(
  processor: SecurityProcessor,
  { guest, configDocument }: Cvm,
  bare: BareOperations,
  effort: Effort,
): Promise<Claim> {
  const reportData = new Uint8Array(64).fill(7);
  const { report, certTable } = await guest.report({ reportData, vmpl: 0 });
  const collection = encodeCmw(snpCollection(report, certTable));
  const inputs = {
    schemes,
    endorsements: noEndorsements,
    anchors: [processor.chip.authority.anchor],
    at: Date.now(),
  };
  const request = { collection, configDocument, reportData };
  const { evidence } = await byTurns(effort, {
    evidence: (seconds) => timed(seconds, () => verifyEvidence(request, inputs)),
  });
  const signatures = bare.p384Verify + 3 * bare.rsaPss4096Verify;
  return {
    title: 'SNP evidence, verified alone',
    ratioOf: 'bare cost of its signatures (P-384, 3 RSA-PSS 4096), of all CPU',
    figures: [
      {
        name: 'with its chain',
        ratio: signatures / evidence.cpuMicroseconds,
        values: {
          per_s: evidence.perSecond,
          cpu_us: evidence.cpuMicroseconds,
          bare_cpu_us: signatures,
        },
      },
    ],
  };
}
