import type { EvidenceScheme } from '../rats/scheme.js';
import { appraise, deny, lacks } from './appraise.js';
import {
  type EarClaims,
  isPassport,
  type Passport,
  parsePassport,
  verifyPassport,
} from './passport.js';
import { type EarLevel, type EarRules, earLevelRules } from './rules.js';

/** Attestation Results of external verifiers (RFC 9334 s.5.1, draft-ietf-rats-ear). */
export const earScheme: EvidenceScheme<Passport, EarClaims, EarRules, EarLevel> = {
  format: 'ear',
  admits: isPassport,
  parse: parsePassport,
  verify: (passport, endorsements, _anchors, at) => verifyPassport(passport, endorsements, at),
  deny,
  appraise,
  lacks,
  levelRules: earLevelRules,
};
