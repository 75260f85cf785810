import { toHex } from '#core/bytes.js';
import type { EndorsementDocument } from '#core/rats/endorsements.js';
import type { SvsmClaims } from '#core/svsm/claims.js';
import type { SvsmEvidence } from '#core/svsm/evidence.js';
import { svsmScheme } from '#core/svsm/scheme.js';
import type { PublicArea } from '#core/tpm/public-area.js';
import type { Tree } from '../tree.js';
import type { Material } from './material.js';
import { claimsTree as snpClaims } from './snp.js';

/** An AK that somebody gives is one that he vouches for: as if the EK of the manifest had opened it. */
export async function vouchedFor(
  evidence: SvsmEvidence,
  ak: PublicArea,
  { anchors, at }: Material,
): Promise<readonly EndorsementDocument[]> {
  if (evidence.tpm?.akPublic === undefined) return [];
  if (toHex(evidence.tpm.akPublic.name) !== toHex(ak.name)) return [];
  const none = { certificates: [], crls: [] };
  const key = await svsmScheme.toActivate?.(evidence, none, anchors, at);
  return key === undefined ? [] : [key.endorsement];
}

/** The claims that people look at first. */
export function claimsTree({ format, reportData, services, vtpm, hardware }: SvsmClaims): Tree {
  return {
    format,
    nonce: toHex(reportData),
    services: services.join(' '),
    vtpm:
      vtpm === undefined
        ? 'no quote'
        : {
            ak_trust: vtpm.akTrust,
            ak_sha256: toHex(vtpm.akDigest),
            pcrs_quoted: [...vtpm.measurements.pcrs.keys()].join(' '),
            secure_boot: vtpm.measurements.secureBoot.state,
          },
    hardware: snpClaims(hardware),
  };
}
