import { crypto } from '#crypto';
import { equalBytes } from '../bytes.js';
import type { EcPublicKey } from '../cose/key.js';
import { type CoseSign1, verifySign1 } from '../cose/sign1.js';
import { CvmpError } from '../errors.js';
import type { Endorsements } from '../rats/endorsements.js';
import type { CcaClaims } from './claims.js';
import { findPlatformKey } from './endorsement.js';
import type { CcaToken } from './token.js';

/**
 * Verifies both parts of a token and what binds them (draft-ffm-rats-cca-token s.5), one reason each;
 * the first failure wins.
 * @throws CvmpError AK_UNTRUSTED, EVIDENCE_SIGNATURE_INVALID, REALM_KEY_MISMATCH
 */
export async function verifyCcaToken(
  { platform, realm }: CcaToken,
  endorsements: Endorsements,
): Promise<CcaClaims> {
  // The platform is one whose key is endorsed: anybody can sign a token by a key of his own.
  const endorsed = findPlatformKey(platform.claims, endorsements);
  await requireSignature(platform.message, endorsed.key, 'platform');
  // The realm part is signed by the key that it names itself ...
  await requireSignature(realm.message, realm.claims.publicKey, 'realm');
  // ... so only the platform's word for that key makes it more than a claim.
  const { publicKeyHash, publicKeyBytes } = realm.claims;
  const digest = crypto.hash(publicKeyHash, publicKeyBytes);
  if (!equalBytes(platform.claims.challenge, digest)) {
    throw new CvmpError('REALM_KEY_MISMATCH', 'the platform token is over another realm key', {
      field: 'cca_platform.challenge',
    });
  }
  return {
    format: 'cca',
    simulated: endorsed.simulated,
    reportData: realm.claims.challenge,
    configBinding: { field: 'RPV', hash: 'sha512', digest: realm.claims.personalizationValue },
    launchMeasurement: realm.claims.initialMeasurement,
    instanceId: undefined,
    chipId: platform.claims.instanceId,
    platform: platform.claims,
    realm: realm.claims,
    endorser: endorsed.endorser,
  };
}

async function requireSignature(
  message: CoseSign1,
  key: EcPublicKey,
  part: 'platform' | 'realm',
): Promise<void> {
  try {
    await verifySign1(message, key);
  } catch (cause) {
    if (!(cause instanceof CvmpError) || cause.code !== 'SIGNATURE_INVALID') throw cause;
    throw new CvmpError(
      'EVIDENCE_SIGNATURE_INVALID',
      `the ${part} token is not signed by its key`,
      {
        field: `cca_${part}_token`,
        cause,
      },
    );
  }
}
