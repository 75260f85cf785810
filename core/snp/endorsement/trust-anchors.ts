import { fromHex } from '../../bytes.js';
import type { TrustAnchor } from '../../rats/endorsements.js';

const root = (name: string, spki: string): TrustAnchor => ({
  format: 'snp',
  name,
  spkiDigest: fromHex(spki),
});

/**
 * AMD Root Keys, by SHA-256 over their SubjectPublicKeyInfo. AMD publishes the certificates at
 * https://kdsintf.amd.com/vcek/v1/{product}/cert_chain; pinning the key survives a re-issue.
 */
export const amdRoots: readonly TrustAnchor[] = [
  root('ARK-Milan', '9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9'),
  root('ARK-Genoa', '429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831'),
  root('ARK-Turin', '4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08'),
];
