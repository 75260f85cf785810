import { simulatedFirmware } from '#sim/firmware.js';
import { SecurityProcessor } from '#sim/security-processor.js';
import { authority, fakeNow } from './fake-platform.js';

const processor = SecurityProcessor.create(authority, () => fakeNow);

/** A guest of the sample firmware on a simulated processor. @param hostData 32 bytes */
export function sampleGuest(hostData: Uint8Array) {
  return processor.launch({
    inputs: {
      firmware: simulatedFirmware(),
      boot: undefined,
      vcpus: 1,
      cpuSignature: 0x800f12,
      guestFeatures: 1n,
      vmmType: 'QEMU',
    },
    guestPolicy: 0x30000n,
    hostData,
  });
}
