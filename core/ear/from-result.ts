import type { ErrorCode } from '../errors.js';
import type { AttestationResult, FailedCheck } from '../rats/attestation-result.js';
import {
  commonClaim,
  type Tier,
  type TrustClaimName,
  type TrustVector,
  tierOfVector,
  tierValues,
  trustClaim,
  trustClaimNames,
} from './ar4si.js';
import { dialects, type Ear, type EarAppraisal, type VerifierId } from './ear.js';

/** What the verifier says of itself and for whom, beside the result. */
export interface EarFrame {
  readonly verifier: VerifierId;
  /** Of the appraisal: a URI with its digest; undefined: nothing was asked. */
  readonly policyId: string | undefined;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** 0: no end. */
  readonly lifetimeSeconds: number;
  /** Of whom asked for the result, 8 to 64 bytes. */
  readonly nonce?: Uint8Array;
  readonly confirmationKey?: Ear['confirmationKey'];
  /** Index into {@link dialects}; the first unless told. */
  readonly profile?: 0 | 1;
}

/** The EAR of an appraisal: one submodule, named for its format. */
export function earOfResult(result: AttestationResult, frame: EarFrame): Ear {
  const { claims, format, level, simulated, accepted } = result;
  const vector = vectorOf(result);
  const worst = tierOfVector(vector);
  const { reportData } = claims;
  return earOf(frame, format, {
    // What a policy refuses is contraindicated, whatever the reasons are.
    status: accepted ? worst : 'contraindicated',
    vector,
    policyIds: frame.policyId === undefined ? [] : [frame.policyId],
    nonces: reportData.length >= 8 && reportData.length <= 64 ? [reportData] : [],
    attestedKey: undefined,
    cvmp: {
      format,
      level: accepted ? level : 0,
      simulated,
      configDigest: claims.configBinding.digest,
      launchMeasurement: claims.launchMeasurement,
    },
  });
}

/** Codes of evidence that is not of a form that the verifier reads. */
const unreadable: readonly ErrorCode[] = [
  'MALFORMED',
  'NOT_CANONICAL',
  'SIZE',
  'UNSUPPORTED_EVIDENCE',
  'UNSUPPORTED_VERSION',
];

/**
 * The EAR of evidence that did not verify: every category says that cryptography failed, or that the
 * evidence was not what was expected (draft-ietf-rats-ar4si s.2.3.3).
 * @param format label of the submodule
 */
export function earOfFailure(code: ErrorCode, format: string, frame: EarFrame): Ear {
  const value = unreadable.includes(code)
    ? commonClaim.unexpectedEvidence
    : code === 'COLLATERAL_STALE'
      ? commonClaim.noClaim
      : commonClaim.cryptographyFailed;
  const vector = Object.fromEntries(trustClaimNames.map((name) => [name, value])) as TrustVector;
  return earOf(frame, format, {
    status: tierOfVector(vector),
    vector,
    policyIds: frame.policyId === undefined ? [] : [frame.policyId],
    nonces: [],
    attestedKey: undefined,
    cvmp: undefined,
  });
}

function earOf(frame: EarFrame, label: string, appraisal: EarAppraisal): Ear {
  const issuedAt = Math.floor(frame.at / 1000);
  const { lifetimeSeconds, nonce } = frame;
  return {
    profile: dialects[frame.profile ?? 0].profile,
    issuedAt,
    expiresAt: lifetimeSeconds === 0 ? undefined : issuedAt + lifetimeSeconds,
    verifier: frame.verifier,
    status: appraisal.status,
    nonces: nonce === undefined ? [] : [nonce],
    confirmationKey: frame.confirmationKey,
    rawEvidence: undefined,
    submods: new Map([[label, appraisal]]),
  };
}

type Finding = readonly [category: TrustClaimName, value: number];

/** What a failed check says, by its code; the first row whose pattern fits the check counts. */
const findings: readonly (readonly [code: ErrorCode, check: RegExp, finding: Finding])[] = [
  ['POLICY_CHIP', /deny$/, ['instance-identity', trustClaim.instanceUntrustworthy]],
  ['POLICY_CHIP', /product|family/, ['hardware', trustClaim.hardwareContraindicated]],
  ['POLICY_CHIP', /./, ['instance-identity', trustClaim.instanceUnrecognized]],
  ['POLICY_SIMULATED', /./, ['hardware', trustClaim.hardwareUnrecognized]],
  ['POLICY_DEBUG', /./, ['runtime-opaque', trustClaim.runtimeVisible]],
  ['POLICY_MEASUREMENT', /command-line/, ['configuration', trustClaim.configurationUnsafe]],
  ['POLICY_MEASUREMENT', /./, ['executables', trustClaim.executablesUnrecognized]],
  ['POLICY_MIGRATION', /./, ['configuration', trustClaim.configurationUnsupportable]],
  ['POLICY_GUEST', /./, ['configuration', trustClaim.configurationUnsafe]],
  ['POLICY_VMPL', /./, ['configuration', trustClaim.configurationUnsafe]],
  ['POLICY_SECURE_BOOT', /./, ['configuration', trustClaim.configurationUnsafe]],
  ['POLICY_TCB', /./, ['hardware', trustClaim.hardwareUnsafe]],
  ['POLICY_ADVISORY', /./, ['hardware', trustClaim.hardwareUnsafe]],
  ['COLLATERAL_STALE', /./, ['hardware', trustClaim.hardwareUnsafe]],
  ['RELAUNCH_ADVISED', /./, ['hardware', trustClaim.hardwareUnsafe]],
];

/** Formats whose hardware encrypts the memory of the guest. */
const encrypting = /^(snp|svsm|tdx|azure-snp|azure-tdx|cca)/;

/**
 * The trustworthiness vector of an appraisal (draft-ietf-rats-ar4si s.2.3.4). The evidence verified,
 * so instance and hardware start as affirmed; each failed check worsens its category. Categories that
 * nothing was measured of make no claim.
 */
export function vectorOf(result: AttestationResult): TrustVector {
  const { claims, failures, format, simulated } = result;
  const vector: Partial<Record<TrustClaimName, number>> = {
    'instance-identity': trustClaim.instanceRecognized,
    configuration: trustClaim.configurationApproved,
    executables: trustClaim.executablesApprovedBoot,
    hardware: trustClaim.hardwareGenuine,
  };
  // Simulated hardware protects nothing, also where a policy for tests admits it.
  if (simulated) vector.hardware = trustClaim.hardwareUnsafe;
  else if (encrypting.test(format)) vector['runtime-opaque'] = trustClaim.runtimeEncrypted;
  if (hasOpenAdvisories(claims)) vector.hardware = trustClaim.hardwareUnsafe;
  const unjudged = failures.some(({ code }) => code === 'NO_POLICY' || code === 'POLICY_REFUSED');
  if (unjudged) {
    // Without rules nothing is known of what runs there.
    delete vector.configuration;
    delete vector.executables;
  }
  for (const failure of failures) worsen(vector, failure);
  return vector;
}

function worsen(
  vector: Partial<Record<TrustClaimName, number>>,
  { code, check }: FailedCheck,
): void {
  const row = findings.find(([known, pattern]) => known === code && pattern.test(check));
  if (row === undefined) return;
  const [, , [category, value]] = row;
  vector[category] = Math.max(vector[category] ?? 0, value);
}

/** TDX claims, alone or below Azure's: the platform is genuine, and not at the newest TCB. */
function hasOpenAdvisories(claims: object): boolean {
  const { tcb, hardware } = claims as { tcb?: { status?: unknown }; hardware?: unknown };
  if (typeof hardware === 'object' && hardware !== null) return hasOpenAdvisories(hardware);
  return typeof tcb?.status === 'string' && tcb.status !== 'UpToDate';
}

/** Whether a status is at least as trusted as what is asked; `none` never is. */
export function reaches(status: Tier, asked: Tier): boolean {
  return status !== 'none' && tierValues[status] <= tierValues[asked];
}
