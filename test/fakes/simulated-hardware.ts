import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inject } from 'vitest';
import { concat, utf8 } from '#core/bytes.js';
import type { Endorsements } from '#core/rats/endorsements.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import type { LaunchInputs } from '#core/snp/launch/measure.js';
import { guestPolicyBits } from '#core/snp/layout.js';
import type { SnpProduct } from '#core/snp/product.js';
import { crypto } from '#crypto';
import { SimulatedAuthority } from '#sim/authority.js';
import { simulatedFirmware } from '#sim/firmware.js';
import type { SimulatedGuest } from '#sim/guest.js';
import { SecurityProcessor } from '#sim/security-processor.js';

/** Time of evaluation in tests that do not use the clock. */
export const testTime = Date.UTC(2026, 0, 1);

/** Certificates of the simulated authorities are valid from a year before on. */
const authorityTime = Date.UTC(2025, 0, 1);

/**
 * The vendor of simulated chips of a product; its RSA keys take seconds, so that one is made per
 * test run and shared by all test files through the folder of the run.
 */
export async function simulatedAuthority(
  product: SnpProduct = 'Genoa',
): Promise<SimulatedAuthority> {
  const path = join(inject('runFolder'), `authority-${product}`);
  if (!existsSync(path)) {
    const made = (await SimulatedAuthority.create(product, authorityTime)).export();
    const own = `${path}.${process.pid}`;
    writeFileSync(own, made, { mode: 0o600 });
    try {
      linkSync(own, path);
    } catch (error) {
      // Another test file was faster; its authority is the one.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    rmSync(own);
  }
  return SimulatedAuthority.restore(new Uint8Array(readFileSync(path)));
}

/** A chip of the shared vendor. */
export async function simulatedProcessor(
  product: SnpProduct = 'Genoa',
  now: () => number = () => testTime,
): Promise<SecurityProcessor> {
  return SecurityProcessor.create(await simulatedAuthority(product), now);
}

export const testConfigDocument = utf8('config document');
export const testGuestPolicy = guestPolicyBits.SMT | guestPolicyBits.RESERVED_ONE;

/** What test guests are launched with. */
export const testLaunchInputs: LaunchInputs = {
  firmware: simulatedFirmware(),
  boot: {
    kernelDigest: crypto.hash('sha256', utf8('kernel')),
    initrdDigest: crypto.hash('sha256', utf8('initrd')),
    cmdline: 'console=ttyS0',
  },
  vcpus: 1,
  cpuSignature: 0xa10f10,
  guestFeatures: 1n,
  vmmType: 'QEMU',
};

/** A guest with the test inputs. */
export function launchTestGuest(processor: SecurityProcessor): Promise<SimulatedGuest> {
  return processor.launch({
    inputs: testLaunchInputs,
    guestPolicy: testGuestPolicy,
    hostData: crypto.hash('sha256', testConfigDocument),
  });
}

/** The certificates of a table. */
export function endorsementsOf(certTable: Uint8Array): Endorsements {
  return { certificates: parseCertTable(certTable).map(({ data }) => data), crls: [] };
}

/** `bytes` with some replaced. */
export function patched(bytes: Uint8Array, offset: number, ...values: number[]): Uint8Array {
  const { length } = values;
  const [head, tail] = [bytes.subarray(0, offset), bytes.subarray(offset + length)];
  return concat(head, Uint8Array.from(values), tail);
}

/** `bytes` with bits of one byte flipped. */
export function flipped(bytes: Uint8Array, offset: number, bits = 0x01): Uint8Array {
  return patched(bytes, offset, bytes[offset]! ^ bits);
}
