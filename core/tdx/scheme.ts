import { joinEndorsements } from '../rats/endorsements.js';
import type { EvidenceScheme } from '../rats/scheme.js';
import { appraise, deny, lacks } from './appraise.js';
import type { TdxClaims } from './claims.js';
import { tdxNeeds } from './endorsement/needs.js';
import { isTdxCollection, parseTdxCollection, type TdxEvidence } from './evidence.js';
import { type TdxLevel, type TdxRules, tdxLevelRules } from './rules.js';
import { verifyTdxQuote } from './verify.js';

/** Intel TDX (Intel TDX DCAP; protocol.md s.3). */
export const tdxScheme: EvidenceScheme<TdxEvidence, TdxClaims, TdxRules, TdxLevel> = {
  format: 'tdx',
  admits: isTdxCollection,
  parse: parseTdxCollection,
  needs: (evidence, endorsements, anchors, at) =>
    tdxNeeds(evidence.quote, joinEndorsements(evidence.endorsements, endorsements), anchors, at),
  verify: (evidence, endorsements, anchors, at) =>
    verifyTdxQuote(
      evidence.quote,
      joinEndorsements(evidence.endorsements, endorsements),
      anchors,
      at,
      evidence.eventLog,
    ),
  deny,
  appraise,
  lacks,
  levelRules: tdxLevelRules,
};
