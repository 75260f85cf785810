import { CvmpError } from '../errors.js';

/** Categories of the trustworthiness vector (draft-ietf-rats-ar4si s.2.3), by their CBOR keys. */
export const trustClaimNames = [
  'instance-identity',
  'configuration',
  'executables',
  'file-system',
  'hardware',
  'runtime-opaque',
  'storage-opaque',
  'sourced-data',
] as const;

export type TrustClaimName = (typeof trustClaimNames)[number];

/** Claims of -128 to 127; a category that is not there makes no claim. */
export type TrustVector = Readonly<Partial<Record<TrustClaimName, number>>>;

/** Tiers of trust (draft-ietf-rats-ar4si s.2.3.2), with their values in EAR. */
export const tierValues = {
  none: 0,
  affirming: 2,
  warning: 32,
  contraindicated: 96,
} as const;

export type Tier = keyof typeof tierValues;

/** Values that mean the same in every category (s.2.3.3). */
export const commonClaim = {
  verifierMalfunction: -1,
  noClaim: 0,
  unexpectedEvidence: 1,
  cryptographyFailed: 99,
} as const;

/** Values of the categories that CVMP states (s.2.3.4). */
export const trustClaim = {
  instanceRecognized: 2,
  instanceUntrustworthy: 96,
  instanceUnrecognized: 97,
  configurationApproved: 2,
  configurationUnsafe: 32,
  configurationUnsupportable: 96,
  executablesApprovedBoot: 3,
  executablesUnrecognized: 33,
  hardwareGenuine: 2,
  hardwareUnsafe: 32,
  hardwareContraindicated: 96,
  hardwareUnrecognized: 97,
  runtimeEncrypted: 2,
  runtimeVisible: 96,
} as const;

/** @throws CvmpError SIZE unless it is one octet, signed */
export function tierOf(claim: number): Tier {
  if (!Number.isInteger(claim) || claim < -128 || claim > 127) {
    throw new CvmpError('SIZE', `trustworthiness claim ${claim} is not -128 to 127`);
  }
  const distance = claim < 0 ? -claim - 1 : claim;
  if (distance < 2 && claim >= -1) return 'none';
  if (distance < 32) return 'affirming';
  return distance < 96 ? 'warning' : 'contraindicated';
}

/** The tier of a value of `ear.status`, or undefined. */
export function tierOfValue(value: number): Tier | undefined {
  return (Object.keys(tierValues) as Tier[]).find((tier) => tierValues[tier] === value);
}

/** The worst tier of all; `none` where nothing is claimed. */
export function worstTier(tiers: readonly Tier[]): Tier {
  return tiers.reduce<Tier>(
    (worst, tier) => (tierValues[tier] > tierValues[worst] ? tier : worst),
    'none',
  );
}

/** The worst tier that a vector claims. */
export function tierOfVector(vector: TrustVector): Tier {
  return worstTier(Object.values(vector).map(tierOf));
}

/**
 * Whether a status claims more trust than what it sums up (draft-ietf-rats-ear s.3.1): `none` claims
 * nothing.
 */
export function overstates(status: Tier, worst: Tier): boolean {
  return status !== 'none' && tierValues[status] < tierValues[worst];
}
