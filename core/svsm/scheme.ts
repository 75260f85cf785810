import { crypto } from '#crypto';
import { equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { Endorsements } from '../rats/endorsements.js';
import type { EvidenceScheme } from '../rats/scheme.js';
import type { SnpClaims } from '../snp/claims.js';
import { snpScheme } from '../snp/scheme.js';
import type { TpmEvidence } from '../tpm/evidence.js';
import { verifyMeasurements } from '../tpm/measurements.js';
import type { PublicArea } from '../tpm/public-area.js';
import { bootCountsOf } from '../tpm/resets.js';
import { appraise, lacks } from './appraise.js';
import type { SvsmClaims, SvsmVtpm } from './claims.js';
import { isSvsmCollection, parseSvsmCollection, type SvsmEvidence } from './evidence.js';
import { vtpmServiceGuid } from './manifest.js';
import { type SvsmLevel, type SvsmRules, svsmLevelRules } from './rules.js';
import { parseVtpmManifest, trustVtpmAk, type VtpmManifest, vtpmAkToActivate } from './vtpm.js';

/** The level that an SVSM runs at; the guest below it gets reports of its own level only. */
const svsmVmpl = 0;

/**
 * Evidence by the SVSM of an SNP guest (SVSM specification s.7; protocol.md s.4, AK trust d). The
 * hardware vouches for the SVSM, the SVSM for its services and for what the guest asked, its vTPM
 * for what the guest booted. Each link is verified before the next one is believed.
 */
export const svsmScheme: EvidenceScheme<SvsmEvidence, SvsmClaims, SvsmRules, SvsmLevel> = {
  format: 'svsm',
  admits: isSvsmCollection,
  parse: parseSvsmCollection,
  needs: async (evidence, ...held) => (await snpScheme.needs?.(evidence.hardware, ...held)) ?? [],

  async toActivate(evidence) {
    if (evidence.tpm === undefined) return undefined;
    const { manifest, ak } = vtpmKeys(evidence, evidence.tpm);
    return vtpmAkToActivate(manifest, ak);
  },

  async verify(evidence, endorsements, anchors, at) {
    const hardware = await snpScheme.verify(evidence.hardware, endorsements, anchors, at);
    requireSvsm(evidence, hardware);
    const vtpm = await verifyVtpm(evidence, endorsements);
    return {
      format: 'svsm',
      simulated: hardware.simulated,
      reportData: evidence.nonce,
      configBinding: hardware.configBinding,
      launchMeasurement: hardware.launchMeasurement,
      instanceId: hardware.instanceId,
      chipId: hardware.chipId,
      hardware,
      services: evidence.services.map(({ guid }) => guid),
      bootCounts: vtpm && bootCountsOf(vtpm.measurements, vtpm.akDigest),
      vtpm,
    };
  },

  deny: (claims) => snpScheme.deny(claims.hardware),
  appraise,
  lacks,
  warnings: ({ hardware }, levels) =>
    snpScheme.warnings?.(
      hardware,
      levels.map((level) => level.hardware),
    ) ?? [],
  levelRules: svsmLevelRules,
};

/**
 * The report is the SVSM's, and over this nonce and this manifest.
 * @throws CvmpError POLICY_VMPL, RUNTIME_DATA_MISMATCH
 */
function requireSvsm({ nonce, manifest }: SvsmEvidence, { report }: SnpClaims): void {
  // Stops the guest itself, which may put any digest into a report of its own level.
  if (report.vmpl !== svsmVmpl) {
    const message = `the report is of VMPL ${report.vmpl}; an SVSM speaks at VMPL ${svsmVmpl}`;
    throw new CvmpError('POLICY_VMPL', message, { field: 'VMPL' });
  }
  if (equalBytes(crypto.hash('sha512', nonce, manifest), report.reportData)) return;
  const message = 'REPORT_DATA is not the digest of the nonce and the services manifest';
  throw new CvmpError('RUNTIME_DATA_MISMATCH', message, { field: 'svsm.manifest' });
}

/** @throws CvmpError AK_UNTRUSTED, BINDING_MISMATCH, and as parseVtpmManifest, verifyMeasurements */
async function verifyVtpm(
  evidence: SvsmEvidence,
  endorsements: Endorsements,
): Promise<SvsmVtpm | undefined> {
  const { nonce, tpm } = evidence;
  if (tpm === undefined) return undefined;
  const { manifest, ak } = vtpmKeys(evidence, tpm);
  const akTrust = trustVtpmAk(manifest, ak, endorsements);
  const measurements = await verifyMeasurements(tpm, ak.spki);
  requireSharedBinding(nonce, measurements.quote.extraData);
  return { measurements, akTrust, akDigest: crypto.hash('sha256', ak.spki) };
}

/** @throws CvmpError AK_UNTRUSTED, and as parseVtpmManifest */
function vtpmKeys(
  { services }: SvsmEvidence,
  { akPublic }: TpmEvidence,
): { manifest: VtpmManifest; ak: PublicArea } {
  const service = services.find(({ guid }) => guid === vtpmServiceGuid);
  if (service === undefined || akPublic === undefined) {
    const what = service === undefined ? 'the SVSM attests no vTPM' : 'the quote names no AK';
    throw new CvmpError('AK_UNTRUSTED', what, { field: 'tpm.ak' });
  }
  return { manifest: parseVtpmManifest(service.manifest), ak: akPublic };
}

/**
 * Stops a quote of one session beside a report of another: both are over the same value, the quote,
 * where it has no room for that, over its hash.
 * @throws CvmpError BINDING_MISMATCH
 */
function requireSharedBinding(nonce: Uint8Array, extraData: Uint8Array): void {
  const shared = [nonce, crypto.hash('sha256', nonce), crypto.hash('sha384', nonce)];
  if (shared.some((value) => equalBytes(value, extraData))) return;
  throw new CvmpError('BINDING_MISMATCH', 'the TPM quote is over another value than the report', {
    field: 'attest.extra_data',
  });
}
