import { toHex } from '#core/bytes.js';
import { snpKeyDigest } from '#core/snp/launch/id-block.js';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import type { ServerApis } from '../api.js';
import { expectedMeasurement, guestFeatures, imageFirmware, snpOffer } from '../cvm/launch.js';
import { readKeyFile } from '../profile/key-file.js';
import type { Profile } from '../profile/profile.js';

/** Images that the sample policy admits, in the order of their security versions. */
export const sampleImages = ['sample-v1', 'sample-v2'] as const;

/**
 * A policy for the sample images, with measurements recomputed here: level 1 is any of them with an
 * ID block of this tenant, level 2 only the second with SVN 2.
 * @param cvmNames names that it covers
 */
export async function samplePolicy(
  profile: Profile,
  servers: ServerApis,
  policyId: string,
  cvmNames: string,
): Promise<string> {
  const cvms = servers.cvms();
  const features = await cvms.cVMFeature({ teeTypes: [TeeType.SEV_SNP] });
  const { vmmType, vcpuTypes } = snpOffer(features);
  const measurements: string[] = [];
  for (const [i, name] of sampleImages.entries()) {
    const image = features.images.find((candidate) => candidate.name === name);
    if (image === undefined) continue;
    const firmware = await imageFirmware(cvms, image, undefined);
    const measurement = expectedMeasurement({
      image,
      firmware,
      firmwareDigest: image.firmwareDigest,
      vcpus: 1,
      vcpuType: vcpuTypes[0] ?? '',
      vmmType,
      guestFeatures,
    });
    measurements.push(
      `      - digest: ${toHex(measurement)}`,
      `        image_svn: ${i + 1}`,
      `        name: ${name}, 1 vCPU`,
    );
  }
  const idKey = await readKeyFile(profile.idBlockKey ?? '', 'P-384');
  return policyText(policyId, cvmNames, measurements, toHex(snpKeyDigest(idKey.publicPoint)));
}

function policyText(
  policyId: string,
  cvmNames: string,
  measurements: readonly string[],
  idKeyDigest: string,
): string {
  return `# A Keying Policy: which CVMs get keys, and at which SVN (cvmp policy set FILE).
# tenant_id, version and prev_digest are filled in when it is set.
policy_id: ${policyId}
cvm_names: ["${cvmNames}"]
appraisal:
  # Simulated hardware proves nothing. Leave this out for real machines.
  allow_simulated: true
  snp:
    # Launch measurements that are admitted: cvmp measure snp --image NAME
    measurements:
${measurements.join('\n')}
    # Who may say which SVN a CVM has: the key that signs its ID block (id_block_key).
    id_key_digests:
      - ${idKeyDigest}
# What a CVM must prove for SVN level 1, 2, ...; each level includes those below it.
levels:
  - n: 1
    snp: {guest_svn_min: 1, image_svn_min: 1}
  - n: 2
    snp: {guest_svn_min: 2, image_svn_min: 2}
# Lowest level that new keys are given to, and floor of all existing ones. It only rises.
svn_floor: 1
key_rules:
  purposes: [disk]
`;
}
