import type { LevelRules } from '../rats/level-rules.js';
import { type SnpLevel, type SnpRules, snpLevelRules } from '../snp/rules.js';
import { type BootRules, type TpmLevel, tpmLevelRules } from '../tpm/rules.js';

/** Rules for evidence by an SVSM; each that is given must hold. */
export interface SvsmRules {
  /** For the report of VMPL 0: the SVSM and the firmware that were launched. */
  readonly hardware: SnpRules;
  /** GUIDs of services, lower case, that the SVSM may offer; empty: any. */
  readonly services: readonly string[];
  /** For what the guest booted, by the vTPM; undefined: no quote is asked for. */
  readonly boot: BootRules | undefined;
}

/** A level of both halves. */
export interface SvsmLevel {
  readonly hardware: SnpLevel;
  /** Undefined: not looked at. */
  readonly boot: TpmLevel | undefined;
}

const noBoot: TpmLevel = { imageSvnMin: 0, firmwareVersionMin: 0n };

const named = (half: 'hardware' | 'boot', path: string | undefined) =>
  path === undefined ? undefined : `${half}.${path}`;

/** How levels compare (protocol.md s.6.4 rules 1 and 2). */
export const svsmLevelRules: LevelRules<SvsmLevel, SvsmRules> = {
  promoted: (previous, next) =>
    named('hardware', snpLevelRules.promoted?.(previous.hardware, next.hardware)),

  decreasing: (lower, higher) =>
    named('hardware', snpLevelRules.decreasing(lower.hardware, higher.hardware)) ??
    named('boot', tpmLevelRules.decreasing(lower.boot ?? noBoot, higher.boot ?? noBoot)),

  relaxed(previous, next) {
    const hardware = (levels: readonly SvsmLevel[]) => levels.map((level) => level.hardware);
    const boot = (levels: readonly SvsmLevel[]) => levels.map((level) => level.boot ?? noBoot);
    return (
      named('hardware', snpLevelRules.relaxed(hardware(previous), hardware(next))) ??
      named('boot', tpmLevelRules.relaxed(boot(previous), boot(next)))
    );
  },
};
