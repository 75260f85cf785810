import type { EcPublicKey } from '../cose/key.js';
import { CvmpError } from '../errors.js';
import { overstates, type Tier, type TrustVector, tierOfVector, worstTier } from './ar4si.js';

/** An EAT Attestation Result (draft-ietf-rats-ear s.3): the claims of a signed EAR. */
export interface Ear {
  /** One of {@link dialects}. */
  readonly profile: string;
  /** Seconds since 1970. */
  readonly issuedAt: number;
  /** Seconds since 1970; undefined: no end. */
  readonly expiresAt: number | undefined;
  readonly verifier: VerifierId;
  /** Of all submodules; undefined where it is not said. */
  readonly status: Tier | undefined;
  /** Echoed for whom asked for the result: 8 to 64 bytes each. */
  readonly nonces: readonly Uint8Array[];
  /** Key whose holder presents the result (RFC 8747, RFC 7800). */
  readonly confirmationKey: EcPublicKey | undefined;
  readonly rawEvidence: Uint8Array | undefined;
  /** At least one, by the label of the attester. */
  readonly submods: ReadonlyMap<string, EarAppraisal>;
}

export interface VerifierId {
  readonly developer: string;
  readonly build: string;
}

/** The result for one attester (draft-ietf-rats-ear s.3.1). */
export interface EarAppraisal {
  readonly status: Tier;
  readonly vector: TrustVector | undefined;
  /** In the order in which they were applied. */
  readonly policyIds: readonly string[];
  /** What the evidence was made over. */
  readonly nonces: readonly Uint8Array[];
  /** DER SubjectPublicKeyInfo of an attested key (Veraison's extension). */
  readonly attestedKey: Uint8Array | undefined;
  readonly cvmp: CvmpAppraisal | undefined;
}

/** What a CVMP Key Server needs to know beside AR4SI (docs/protocol.md). */
export interface CvmpAppraisal {
  /** Of the evidence that was appraised: `snp`. */
  readonly format: string;
  /** SVN level that the evidence proved; 0: none. */
  readonly level: number;
  /** True where the evidence is of no hardware vendor's. */
  readonly simulated: boolean;
  /** SHA-256, SHA-384 or SHA-512 digest of the config document, as the hardware reports it. */
  readonly configDigest: Uint8Array;
  /** Measurement of what was launched. */
  readonly launchMeasurement: Uint8Array;
}

/** How the drafts spell the claims. The CBOR labels are the same in all of them. */
export interface Dialect {
  readonly profile: string;
  readonly admits: (profile: string) => boolean;
  readonly status: string;
  readonly vector: string;
  readonly rawEvidence: string;
  readonly policies: string;
  /** Whether the policies are a list, or one text. */
  readonly policyList: boolean;
  readonly verifier: string;
  readonly attestedKey: string;
}

/** What deployed verifiers write (draft-fv-rats-ear-05), and the working group's drafts from -03 on. */
export const dialects: readonly [Dialect, Dialect] = [
  {
    profile: 'tag:github.com,2023:veraison/ear',
    admits: (profile) => profile === 'tag:github.com,2023:veraison/ear',
    status: 'ear.status',
    vector: 'ear.trustworthiness-vector',
    rawEvidence: 'ear.raw-evidence',
    policies: 'ear.appraisal-policy-id',
    policyList: false,
    verifier: 'ear.verifier-id',
    attestedKey: 'ear.veraison.key-attestation',
  },
  {
    profile: 'tag:ietf.org,2026:rats/ear#03',
    admits: (profile) => /^tag:ietf\.org,2026:rats\/ear#\d\d$/.test(profile),
    status: 'ear_status',
    vector: 'ear_trustworthiness_vector',
    rawEvidence: 'ear_raw_evidence',
    policies: 'ear_appraisal_policy_ids',
    policyList: true,
    verifier: 'ear_verifier_id',
    attestedKey: 'ear_veraison_key_attestation',
  },
];

/** @throws CvmpError UNSUPPORTED_VERSION */
export function dialectOf(profile: string): Dialect {
  const dialect = dialects.find(({ admits }) => admits(profile));
  if (dialect !== undefined) return dialect;
  throw new CvmpError('UNSUPPORTED_VERSION', `eat_profile ${profile} is no known profile of EAR`, {
    field: 'ear.eat_profile',
  });
}

/** For dialects that have room for one. @throws TypeError where there are more */
export function onlyPolicy(policyIds: readonly string[]): string {
  const [only] = policyIds;
  if (only !== undefined && policyIds.length === 1) return only;
  throw new TypeError('this profile of EAR names one appraisal policy');
}

export const submodsMax = 32;
export const policiesMax = 32;
export const nonceRule = { min: 8, max: 64 } as const;
export const textRule = { min: 1, max: 4096 } as const;

/**
 * What the claims must hold together (draft-ietf-rats-ear s.3, s.3.1): a status never claims more
 * trust than what it sums up.
 * @throws CvmpError MALFORMED, SIZE
 */
export function checkEar(ear: Ear): Ear {
  const { submods, status, expiresAt, issuedAt } = ear;
  if (submods.size === 0 || submods.size > submodsMax) {
    throw new CvmpError('SIZE', `ear.submods has ${submods.size} members, not 1 to ${submodsMax}`, {
      field: 'ear.submods',
    });
  }
  if (expiresAt !== undefined && expiresAt <= issuedAt) {
    throw new CvmpError('MALFORMED', 'the EAR expires before it was issued', { field: 'ear.exp' });
  }
  for (const [label, appraisal] of submods) {
    if (appraisal.vector === undefined) continue;
    const worst = tierOfVector(appraisal.vector);
    if (overstates(appraisal.status, worst)) {
      const field = `ear.submods.${label}.status`;
      throw new CvmpError('MALFORMED', `${field} is ${appraisal.status}, a claim is ${worst}`, {
        field,
      });
    }
  }
  const worst = worstTier([...submods.values()].map((one) => one.status));
  if (status !== undefined && overstates(status, worst)) {
    throw new CvmpError('MALFORMED', `ear.status is ${status}, a submodule's is ${worst}`, {
      field: 'ear.status',
    });
  }
  return ear;
}
