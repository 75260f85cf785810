import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { CvmpError } from '#core/errors.js';
import { simulatedFirmware } from '#sim/firmware.js';
import { imageFiles } from '../../images.js';
import { writeWhole } from './folder.js';

const versions = [1, 2] as const;

/**
 * Writes images that the simulated driver can launch: `sample-v1`, and `sample-v2`, which differs in
 * every part. They hold no code, and the same version always has the same bytes.
 * @param folder of the image catalogue
 * @returns the names
 * @throws CvmpError ALREADY_EXISTS
 */
export async function writeSampleImages(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const version of versions) {
    const name = `sample-v${version}`;
    const image = join(folder, name);
    const taken = await access(image).then(
      () => true,
      () => false,
    );
    if (taken) throw new CvmpError('ALREADY_EXISTS', `there is ${image}`);
    await mkdir(image, { recursive: true, mode: 0o755 });
    const parts: Record<keyof typeof imageFiles, Uint8Array | string> = {
      firmware: simulatedFirmware({ build: version }),
      kernel: `kernel of CVMP sample image ${version}\n`,
      initrd: `initrd of CVMP sample image ${version}\n`,
      cmdline: `console=ttyS0 cvmp.image=${name}\n`,
      description: stringify({ name }),
    };
    for (const [part, content] of Object.entries(parts)) {
      await writeWhole(join(image, imageFiles[part as keyof typeof imageFiles]), content);
    }
    names.push(name);
  }
  return names;
}
