import type { EvidenceScheme } from '../rats/scheme.js';
import { akToActivate } from './ak/activation.js';
import { appraise, deny, lacks } from './appraise.js';
import type { TpmClaims } from './claims.js';
import { isTpmCollection, parseTpmCollection, type TpmEvidence } from './evidence.js';
import { type TpmLevel, type TpmRules, tpmLevelRules } from './rules.js';
import { verifyTpmEvidence } from './verify.js';

/** A TPM by itself (TPM 2.0 Library, TCG PC Client Platform Firmware Profile; protocol.md s.4). */
export const tpmScheme: EvidenceScheme<TpmEvidence, TpmClaims, TpmRules, TpmLevel> = {
  format: 'tpm',
  admits: isTpmCollection,
  parse: parseTpmCollection,
  toActivate: akToActivate,
  verify: verifyTpmEvidence,
  deny,
  appraise,
  lacks,
  levelRules: tpmLevelRules,
};
