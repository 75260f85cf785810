import { toHex } from '#core/bytes.js';
import type { CcaClaims } from '#core/cca/claims.js';
import type { Claims } from '#core/rats/claims.js';
import { joinEndorsements, noEndorsements } from '#core/rats/endorsements.js';
import { openEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import type { SnpClaims } from '#core/snp/claims.js';
import type { TdxEvidence } from '#core/tdx/evidence.js';
import { activatedAkType, encodeActivatedKey } from '#core/tpm/ak/activation.js';
import type { TpmEvidence } from '#core/tpm/evidence.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import type { Tree } from '../tree.js';
import { endorsementsOf, type Material, needed, only, type Sound } from './material.js';
import { claimsTree as snpClaims } from './snp.js';
import { soundQuote } from './tdx.js';

/**
 * What an agent sent: a CMW collection of any format. Its binding and its config document are those
 * of a session that is not known here.
 * @throws CvmpError of the evidence section
 */
export async function soundCollection(material: Material): Promise<Sound> {
  const { bytes } = needed(material, 'cmw-collection', 'there is nothing to verify');
  const { scheme, evidence } = openEvidence(bytes, schemes);
  const given = joinEndorsements(endorsementsOf(material), activated(material, evidence));
  if (scheme.format === 'tdx') {
    const tdx = evidence as TdxEvidence;
    const endorsements = joinEndorsements(tdx.endorsements, given);
    return soundQuote({ ...tdx, endorsements }, material);
  }
  const claims = await scheme.verify(evidence, given, material.anchors, material.at);
  const verified = { scheme, claims };
  return { kind: scheme.format, claims: tree(claims), verified, notes: [] };
}

/** An AK that somebody gives is one that he vouches for. */
function activated(material: Material, evidence: unknown) {
  const area = only(material, 'tpm-public');
  const { akPublic } = evidence as Partial<TpmEvidence>;
  if (area === undefined || akPublic === undefined) return noEndorsements;
  const { name } = parsePublicArea(area.bytes);
  const key = { akName: name, ekDigest: new Uint8Array(32), anchorName: 'given', simulated: true };
  const value = encodeActivatedKey(key);
  return { ...noEndorsements, documents: [{ mediaType: activatedAkType, value }] };
}

function tree(claims: Claims | SnpClaims | CcaClaims): Tree {
  if ('report' in claims && claims.format === 'snp') return snpClaims(claims as SnpClaims);
  const { configBinding, instanceId, chipId } = claims;
  return {
    format: claims.format,
    simulated: claims.simulated,
    launch_measurement: toHex(claims.launchMeasurement),
    report_data: toHex(claims.reportData),
    config_digest: `${configBinding.field} ${toHex(configBinding.digest)}`,
    ...(instanceId === undefined ? {} : { instance_id: toHex(instanceId) }),
    ...(chipId === undefined ? {} : { chip_id: toHex(chipId) }),
  };
}
