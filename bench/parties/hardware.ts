import { utf8 } from '#core/bytes.js';
import { guestPolicyBits } from '#core/snp/layout.js';
import { crypto } from '#crypto';
import { SimulatedAuthority } from '#sim/authority.js';
import { simulatedFirmware } from '#sim/firmware.js';
import type { SimulatedGuest } from '#sim/guest.js';
import { SecurityProcessor } from '#sim/security-processor.js';

/** A new simulated processor. Its vendor's two RSA-4096 keys take seconds. */
export async function makeProcessor(): Promise<SecurityProcessor> {
  const authority = await SimulatedAuthority.create('Genoa', Date.now());
  return SecurityProcessor.create(authority, Date.now);
}

/** Launches a CVM with this config document. Every launch has the same measurement. */
export function launchGuest(
  processor: SecurityProcessor,
  configDocument: Uint8Array,
): Promise<SimulatedGuest> {
  return processor.launch({
    inputs: {
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
    },
    guestPolicy: guestPolicyBits.SMT | guestPolicyBits.RESERVED_ONE,
    hostData: crypto.hash('sha256', configDocument),
  });
}
