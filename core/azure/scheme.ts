import { crypto } from '#crypto';
import { equalBytes, isZero } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { Claims } from '../rats/claims.js';
import type { LevelRules } from '../rats/level-rules.js';
import type { EvidenceScheme } from '../rats/scheme.js';
import { snpScheme } from '../snp/scheme.js';
import { tdxScheme } from '../tdx/scheme.js';
import { verifyRuntimeData } from '../tpm/ak/hcl.js';
import { appraiseBoot, bootLacks } from '../tpm/appraise.js';
import type { Measurements } from '../tpm/claims.js';
import { configBindingOf, verifyMeasurements } from '../tpm/measurements.js';
import { bootCountsOf } from '../tpm/resets.js';
import { type BootRules, type TpmLevel, tpmLevelRules } from '../tpm/rules.js';
import {
  type AzureEvidence,
  hardwareCollection,
  isAzureCollection,
  parseAzureCollection,
} from './evidence.js';

/** What verified evidence of an Azure CVM asserts: hardware and vTPM as one. */
export interface AzureClaims<HardwareClaims extends Claims> extends Claims {
  readonly hardware: HardwareClaims;
  readonly measurements: Measurements;
  /** SHA-256 over the AK's SubjectPublicKeyInfo. */
  readonly akDigest: Uint8Array;
}

/** Rules for both halves; each must hold. */
export interface AzureRules<HardwareRules> {
  /** For the paravisor and what is below it. */
  readonly hardware: HardwareRules;
  /** For what the guest booted. */
  readonly boot: BootRules;
}

/** A level of both halves. */
export interface AzureLevel<HardwareLevel> {
  readonly hardware: HardwareLevel;
  readonly boot: TpmLevel;
}

type AzureScheme<E, C extends Claims, R, L> = EvidenceScheme<
  AzureEvidence<E>,
  AzureClaims<C>,
  AzureRules<R>,
  AzureLevel<L>
>;

/**
 * Composite evidence of an Azure CVM on this hardware (protocol.md s.4, AK trust c). The hardware
 * report vouches for the runtime data, that for the AK and for what the guest wrote, and the AK for
 * the boot. Without each link a quote of any TPM could be glued to any report.
 */
function azureScheme<E, C extends Claims, R, L>(
  hardware: EvidenceScheme<E, C, R, L>,
): AzureScheme<E, C, R, L> {
  const format = `azure-${hardware.format}`;
  return {
    format,
    admits: (collection) =>
      isAzureCollection(collection) && hardware.admits(hardwareCollection(collection)),
    parse: (collection) => parseAzureCollection(collection, hardware.parse),
    needs: async (evidence, endorsements, anchors, at) =>
      (await hardware.needs?.(evidence.hardware, endorsements, anchors, at)) ?? [],

    async verify({ hardware: evidence, hcl, tpm }, endorsements, anchors, at) {
      // The AK is the paravisor's word, and only as good as the hardware that reports the paravisor.
      const claims = await hardware.verify(evidence, endorsements, anchors, at);
      if (hcl.hardware !== hardware.format) {
        throw new CvmpError('RUNTIME_DATA_MISMATCH', `the HCL report is of ${hcl.hardware}`);
      }
      verifyRuntimeData(hcl, claims.reportData);
      const measurements = await verifyMeasurements(tpm, hcl.akSpki);
      requireSharedBinding(hcl.userData, measurements.quote.extraData);
      const akDigest = crypto.hash('sha256', hcl.akSpki);
      return {
        format,
        simulated: claims.simulated,
        reportData: hcl.userData,
        configBinding: configBindingOf(measurements, tpm),
        launchMeasurement: claims.launchMeasurement,
        instanceId: claims.instanceId ?? akDigest,
        chipId: claims.chipId,
        bootCounts: bootCountsOf(measurements, akDigest),
        hardware: claims,
        measurements,
        akDigest,
      };
    },

    deny: (claims) => hardware.deny(claims.hardware),
    appraise: (claims, rules) => [
      ...hardware.appraise(claims.hardware, rules.hardware),
      ...appraiseBoot(format, claims.measurements, rules.boot),
    ],
    lacks: (claims, rules, level) => [
      ...hardware.lacks(claims.hardware, rules.hardware, level.hardware),
      ...bootLacks(format, claims.measurements, rules.boot, level.boot),
    ],
    warnings: (rules, levels) =>
      hardware.warnings?.(
        rules.hardware,
        levels.map((level) => level.hardware),
      ) ?? [],
    levelRules: bothLevels(hardware.levelRules),
  };
}

/**
 * Stops a quote of one session beside a hardware report of another: what the guest wrote into the
 * report must also be what the quote was made over, itself or, for lack of room, its hash.
 * @throws CvmpError BINDING_MISMATCH
 */
function requireSharedBinding(userData: Uint8Array, extraData: Uint8Array): void {
  const shared = [userData, crypto.hash('sha256', userData), crypto.hash('sha384', userData)];
  if (!isZero(userData) && shared.some((value) => equalBytes(value, extraData))) return;
  throw new CvmpError('BINDING_MISMATCH', 'the TPM quote is over another value than the report', {
    field: 'attest.extra_data',
  });
}

function bothLevels<L, R>(hardware: LevelRules<L, R>): LevelRules<AzureLevel<L>, AzureRules<R>> {
  const named = (half: 'hardware' | 'boot', path: string | undefined) =>
    path === undefined ? undefined : `${half}.${path}`;
  return {
    promoted: (previous, next) =>
      named('hardware', hardware.promoted?.(previous.hardware, next.hardware)),
    decreasing: (lower, higher) =>
      named('hardware', hardware.decreasing(lower.hardware, higher.hardware)) ??
      named('boot', tpmLevelRules.decreasing(lower.boot, higher.boot)),
    relaxed: (previous, next) =>
      named(
        'hardware',
        hardware.relaxed(
          previous.map((l) => l.hardware),
          next.map((l) => l.hardware),
        ),
      ) ??
      named(
        'boot',
        tpmLevelRules.relaxed(
          previous.map((l) => l.boot),
          next.map((l) => l.boot),
        ),
      ),
  };
}

/** Azure CVMs on AMD SEV-SNP. */
export const azureSnpScheme = azureScheme(snpScheme);
/** Azure CVMs on Intel TDX. */
export const azureTdxScheme = azureScheme(tdxScheme);
