import { toHex } from '#core/bytes.js';
import { encodePlatformKey, platformKeyType } from '#core/cca/endorsement.js';
import { ccaScheme } from '#core/cca/scheme.js';
import { type CcaToken, parseCcaToken } from '#core/cca/token.js';
import { verifyCcaToken } from '#core/cca/verify.js';
import { ecPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { type Endorsements, joinEndorsements, noEndorsements } from '#core/rats/endorsements.js';
import { readPublicKeyInfo } from '#core/x509/public-key.js';
import { tokenTree } from '../show/cca.js';
import { endorsementsOf, type Material, needed, only, type Sound } from './material.js';

/** A token with the key of its platform. @throws CvmpError of the evidence section, USAGE */
export async function soundCca(material: Material): Promise<Sound> {
  const { bytes } = needed(material, 'cca-token', 'there is nothing to verify');
  return soundToken(parseCcaToken(bytes), material);
}

export async function soundToken(token: CcaToken, material: Material): Promise<Sound> {
  const claims = await verifyCcaToken(token, endorsementsFor(token, material));
  return {
    kind: 'cca',
    claims: {
      format: 'cca',
      simulated: claims.simulated,
      endorser: claims.endorser,
      instance_id: toHex(token.platform.claims.instanceId),
      ...tokenTree(token),
    },
    verified: { scheme: ccaScheme, claims },
    notes: [],
  };
}

/**
 * Endorsed keys, and a bare public key as that of this platform: who gives it vouches for it, and
 * says nothing of hardware.
 */
function endorsementsFor({ platform }: CcaToken, material: Material): Endorsements {
  const given = endorsementsOf(material);
  const pem = only(material, 'public-key');
  if (pem === undefined) return given;
  const key = readPublicKeyInfo(pem.bytes, pem.name);
  if (key.kind !== 'ec') {
    throw new CvmpError('WRONG_KEY_TYPE', `${pem.name} is no EC key`, { field: 'public_key' });
  }
  const value = encodePlatformKey({
    implementationId: platform.claims.implementationId,
    instanceId: platform.claims.instanceId,
    key: ecPublicKey(key.curve, key.point),
    endorser: pem.name,
    simulated: true,
  });
  const documents = [{ mediaType: platformKeyType, value }];
  return joinEndorsements(given, { ...noEndorsements, documents });
}
