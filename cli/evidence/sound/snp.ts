import { toHex } from '#core/bytes.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { parseReport } from '#core/snp/parse.js';
import { snpScheme } from '#core/snp/scheme.js';
import { verifyReport } from '#core/snp/verify.js';
import type { Tree } from '../tree.js';
import { endorsementsOf, type Material, needed, type Sound } from './material.js';

/** A bare report with its certificates. @throws CvmpError of the evidence section */
export async function soundSnp(material: Material): Promise<Sound> {
  const { bytes } = needed(material, 'snp-report', 'there is nothing to verify');
  const { anchors, at } = material;
  const endorsements = endorsementsOf(material);
  const claims = await verifyReport(parseReport(bytes), endorsements, anchors, at);
  const verified = { scheme: snpScheme, claims };
  return { kind: 'snp', claims: claimsTree(claims), verified, notes: [] };
}

/** The claims that people look at first. */
export function claimsTree(claims: SnpClaims): Tree {
  const { report } = claims;
  return {
    format: claims.format,
    product: claims.product,
    simulated: claims.simulated,
    report_version: report.version,
    signing_key: claims.signingKey,
    ...(claims.cspId === undefined ? {} : { csp_id: claims.cspId }),
    chip_id: claims.chipId === undefined ? 'hidden' : toHex(claims.chipId),
    measurement: toHex(report.measurement),
    report_data: toHex(report.reportData),
    host_data: toHex(report.hostData),
    guest_svn: report.guestSvn,
    guest_policy: `0x${report.guestPolicy.toString(16)}`,
    vmpl: report.vmpl,
    reported_tcb: { ...claims.reportedTcb },
    committed_tcb: { ...claims.committedTcb },
    launch_tcb: { ...claims.launchTcb },
    endorsement_key_sha256: toHex(claims.endorsementDigest),
    revocation_list: listText(claims.revocation),
  };
}

function listText(revocation: SnpClaims['revocation']): string {
  if (revocation === undefined) return 'none at hand';
  const day = (time: number) => new Date(time).toISOString().slice(0, 10);
  return `of ${day(revocation.thisUpdate)}, good until ${day(revocation.nextUpdate)}`;
}
