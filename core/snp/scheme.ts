import { joinEndorsements } from '../rats/endorsements.js';
import type { EvidenceScheme } from '../rats/scheme.js';
import { appraise, deny, lacks } from './appraise.js';
import type { SnpClaims } from './claims.js';
import { snpNeeds } from './endorsement/needs.js';
import { isSnpCollection, parseSnpCollection, type SnpEvidence } from './evidence.js';
import { type SnpLevel, type SnpRules, snpLevelRules } from './rules.js';
import { verifyReport } from './verify.js';
import { snpWarnings } from './warnings.js';

/** AMD SEV-SNP (SEV-SNP ABI; protocol.md s.2). */
export const snpScheme: EvidenceScheme<SnpEvidence, SnpClaims, SnpRules, SnpLevel> = {
  format: 'snp',
  admits: isSnpCollection,
  parse: parseSnpCollection,
  needs: async (evidence, endorsements) =>
    snpNeeds(evidence.report, joinEndorsements(evidence.endorsements, endorsements)),
  verify: (evidence, endorsements, anchors, at) =>
    verifyReport(
      evidence.report,
      joinEndorsements(evidence.endorsements, endorsements),
      anchors,
      at,
    ),
  deny,
  appraise,
  lacks,
  warnings: snpWarnings,
  levelRules: snpLevelRules,
};
