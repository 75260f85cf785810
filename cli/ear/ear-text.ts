import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { type TrustVector, tierOf, trustClaimNames } from '#core/ear/ar4si.js';
import type { Ear, EarAppraisal } from '#core/ear/ear.js';
import { looksLikeEar, parseEar } from '#core/ear/token.js';
import { CvmpError } from '#core/errors.js';
import type { Tree } from '../evidence/tree.js';

type Leaf = Tree[string];

/** Whether a file is an Attestation Result (EAR) in either form. */
export function isEarFile(bytes: Uint8Array): boolean {
  if (!looksLikeEar(bytes)) return false;
  try {
    parseEar(bytes);
    return true;
  } catch (error) {
    if (error instanceof CvmpError) return false;
    throw error;
  }
}

/** Every claim of an EAR under the draft's name; nothing is verified. @throws CvmpError MALFORMED */
export function showEar(bytes: Uint8Array): Tree {
  const { form, claims } = parseEar(bytes);
  return { [`attestation result (EAR, ${form.toUpperCase()})`]: earTree(claims) };
}

const time = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');

function some(members: { readonly [name: string]: Leaf | undefined }): Tree {
  return Object.fromEntries(
    Object.entries(members).filter((entry): entry is [string, Leaf] => entry[1] !== undefined),
  );
}

const nonceText = (nonces: readonly Uint8Array[]) =>
  nonces.length === 0 ? undefined : nonces.map(toHex).join(' ');

/** The claims of an EAR. */
export function earTree(ear: Ear): Tree {
  const { expiresAt, confirmationKey, rawEvidence } = ear;
  return some({
    eat_profile: ear.profile,
    'ear.status': ear.status,
    iat: time(ear.issuedAt),
    exp: expiresAt === undefined ? undefined : time(expiresAt),
    'ear.verifier-id': `${ear.verifier.developer} ${ear.verifier.build}`,
    eat_nonce: nonceText(ear.nonces),
    cnf:
      confirmationKey === undefined
        ? undefined
        : `${confirmationKey.curve} ${toHex(thumbprint(confirmationKey))}`,
    'ear.raw-evidence': rawEvidence === undefined ? undefined : `${rawEvidence.length} bytes`,
    ...Object.fromEntries(
      [...ear.submods].map(([label, one]) => [`submod ${label}`, appraisalTree(one)]),
    ),
  });
}

function appraisalTree(appraisal: EarAppraisal): Tree {
  const { vector, policyIds, attestedKey, cvmp } = appraisal;
  return some({
    'ear.status': appraisal.status,
    'ear.trustworthiness-vector': vector === undefined ? undefined : vectorTree(vector),
    'ear.appraisal-policy-id': policyIds.length === 0 ? undefined : policyIds.join(' '),
    eat_nonce: nonceText(appraisal.nonces),
    akpub: attestedKey === undefined ? undefined : toHex(attestedKey),
    cvmp:
      cvmp === undefined
        ? undefined
        : {
            format: cvmp.format,
            level: cvmp.level,
            simulated: cvmp.simulated,
            'config-digest': toHex(cvmp.configDigest),
            'launch-measurement': toHex(cvmp.launchMeasurement),
          },
  });
}

function vectorTree(vector: TrustVector): Tree {
  return some(
    Object.fromEntries(
      trustClaimNames.map((name) => {
        const value = vector[name];
        return [name, value === undefined ? undefined : `${value} (${tierOf(value)})`];
      }),
    ),
  );
}
