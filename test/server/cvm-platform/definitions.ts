import { crypto } from '#crypto';
import type { CvmDefinition, LaunchImage } from '#server/cvm-platform/driver/driver.js';
import { imageDigestOf } from '#server/cvm-platform/images.js';

/** An image whose files do not exist; images with different numbers differ in every part. */
export function imageOf(number: number): LaunchImage {
  const file = (part: number) => ({
    path: `/nonexistent/${number}/${part}`,
    digest: crypto.hash('sha256', new Uint8Array([number, part])),
  });
  const parts = { firmware: file(1), kernel: file(2), initrd: file(3), cmdline: `n=${number}` };
  return { imageDigest: imageDigestOf(parts), ...parts };
}

export function definitionOf(cvmId: string, image = imageOf(1)): CvmDefinition {
  return {
    cvmId,
    tee: 'sev-snp',
    vcpus: 1,
    memoryMib: 512,
    vcpuType: 'EPYC-v4',
    image,
    snp: { guestPolicy: 0x30000n },
    secureBoot: false,
    liveMigration: false,
    bios: new Map(),
    svn: 0,
    configDocument: new Uint8Array([0xa0]),
    keyServerAddress: '127.0.0.1:7443',
    diskMib: 64,
  };
}
