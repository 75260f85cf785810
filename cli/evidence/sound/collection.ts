import { toHex } from '#core/bytes.js';
import type { CcaClaims } from '#core/cca/claims.js';
import type { Claims } from '#core/rats/claims.js';
import {
  type EndorsementDocument,
  joinEndorsements,
  noEndorsements,
} from '#core/rats/endorsements.js';
import { openEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import type { SnpClaims } from '#core/snp/claims.js';
import type { SvsmClaims } from '#core/svsm/claims.js';
import type { SvsmEvidence } from '#core/svsm/evidence.js';
import type { TdxEvidence } from '#core/tdx/evidence.js';
import { activatedAkType, encodeActivatedKey } from '#core/tpm/ak/activation.js';
import type { TpmEvidence } from '#core/tpm/evidence.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import type { Tree } from '../tree.js';
import { endorsementsOf, type Material, needed, only, type Sound } from './material.js';
import { claimsTree as snpClaims } from './snp.js';
import { claimsTree as svsmClaims, vouchedFor } from './svsm.js';
import { soundQuote } from './tdx.js';

/**
 * What an agent sent: a CMW collection of any format. Its binding and its config document are those
 * of a session that is not known here.
 * @throws CvmpError of the evidence section
 */
export async function soundCollection(material: Material): Promise<Sound> {
  const { bytes } = needed(material, 'cmw-collection', 'there is nothing to verify');
  const { scheme, evidence } = openEvidence(bytes, schemes);
  const documents = await activated(material, scheme.format, evidence);
  const given = joinEndorsements(endorsementsOf(material), { ...noEndorsements, documents });
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
async function activated(
  material: Material,
  format: string,
  evidence: unknown,
): Promise<readonly EndorsementDocument[]> {
  const area = only(material, 'tpm-public');
  if (area === undefined) return [];
  const ak = parsePublicArea(area.bytes);
  if (format === 'svsm') return vouchedFor(evidence as SvsmEvidence, ak, material);
  const { akPublic } = evidence as Partial<TpmEvidence>;
  if (akPublic === undefined) return [];
  const ekDigest = new Uint8Array(32);
  const key = { akName: ak.name, ekDigest, anchorName: 'given', simulated: true };
  return [{ mediaType: activatedAkType, value: encodeActivatedKey(key) }];
}

function tree(claims: Claims | SnpClaims | CcaClaims): Tree {
  if (claims.format === 'svsm') return svsmClaims(claims as SvsmClaims);
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
