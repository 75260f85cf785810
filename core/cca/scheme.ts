import type { EvidenceScheme } from '../rats/scheme.js';
import { appraise, deny, lacks } from './appraise.js';
import type { CcaClaims } from './claims.js';
import { isCcaCollection, parseCcaCollection } from './evidence.js';
import { type CcaLevel, type CcaRules, ccaLevelRules } from './rules.js';
import type { CcaToken } from './token.js';
import { verifyCcaToken } from './verify.js';

/** Arm Confidential Compute Architecture (draft-ffm-rats-cca-token). */
export const ccaScheme: EvidenceScheme<CcaToken, CcaClaims, CcaRules, CcaLevel> = {
  format: 'cca',
  admits: isCcaCollection,
  parse: parseCcaCollection,
  verify: (token, endorsements) => verifyCcaToken(token, endorsements),
  deny,
  appraise,
  lacks,
  levelRules: ccaLevelRules,
};
