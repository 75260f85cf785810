import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CvmpError } from '#core/errors.js';
import { SimulatedAuthority } from '#sim/authority.js';
import { SecurityProcessor } from '#sim/security-processor.js';
import type { SnpTcb } from '../driver.js';
import { readIfThere, writeWhole } from './folder.js';

/** Products that can be simulated. */
export const simulatedProducts = ['Milan', 'Genoa', 'Turin'] as const;
export type SimulatedProduct = (typeof simulatedProducts)[number];

const processorFile = (folder: string) => join(folder, 'processor');
const tcbFile = (folder: string) => join(folder, 'tcb.json');

/** Root certificate of the simulated vendor, PEM: what a Key Server must pin to admit its chips. */
export const trustAnchorFile = (folder: string) => join(folder, 'ark.pem');

/**
 * Makes the security processor of a simulated host, with a vendor of its own. Takes seconds.
 * @throws CvmpError ALREADY_EXISTS
 */
export async function createHardware(
  folder: string,
  product: SimulatedProduct,
  now: () => number,
): Promise<void> {
  if ((await readIfThere(processorFile(folder))) !== undefined) {
    throw new CvmpError('ALREADY_EXISTS', `there is a security processor in ${folder}`);
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const authority = await SimulatedAuthority.create(product, now());
  const processor = SecurityProcessor.create(authority, now);
  // Public: who runs the Key Server copies it from here.
  await writeWhole(trustAnchorFile(folder), authority.arkPem, 0o644);
  await writeWhole(processorFile(folder), processor.export());
}

/** Says which TCB the host has from now on; CVMs see it at their next launch. */
export async function setTcb(folder: string, tcb: SnpTcb | undefined): Promise<void> {
  await writeWhole(tcbFile(folder), JSON.stringify(tcb ?? null));
}

/**
 * The host's security processor as it is now.
 * @throws CvmpError CONFIG where the host has none
 */
export async function openHardware(folder: string, now: () => number): Promise<SecurityProcessor> {
  const exported = await readIfThere(processorFile(folder));
  if (exported === undefined) {
    throw new CvmpError('CONFIG', `there is no security processor in ${folder}; init makes one`);
  }
  const processor = SecurityProcessor.restore(exported, now);
  const tcb = JSON.parse(await readFile(tcbFile(folder), 'utf8')) as SnpTcb | null;
  if (tcb !== null) processor.configure({ tcb });
  return processor;
}
