import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, toHex } from '#core/bytes.js';
import { parseFirmware } from '#core/snp/launch/firmware.js';
import { kernelHashTable } from '#core/snp/launch/kernel-hashes.js';
import {
  firmwarePagesDigest,
  launchMeasurement,
  type SvsmLaunchInputs,
  svsmLaunchMeasurement,
} from '#core/snp/launch/measure.js';
import { sevEsLaunchDigest, sevLaunchDigest } from '#core/snp/launch/sev.js';
import { bootEip, svsmVmsaPage, vmsaPage } from '#core/snp/launch/vmsa.js';
import { crypto } from '#crypto';
import { simulatedFirmware, simulatedSvsm } from '#sim/firmware.js';
import { refusalAtOnce, refusalOf } from '../../../refusal.js';

const firmware = simulatedFirmware();
const digest = (fill: number) => new Uint8Array(32).fill(fill);
const boot = { kernelDigest: digest(1), initrdDigest: digest(2), cmdline: 'console=ttyS0' };
const cpuSignature = 0x800f12;

describe('SEV and SEV-ES launch digests (SEV API s.6.5)', () => {
  it('SEV: firmware, then the table of kernel hashes', () => {
    expect(sevLaunchDigest({ firmware, boot: undefined })).toEqual(crypto.hash('sha256', firmware));
    expect(sevLaunchDigest({ firmware, boot })).toEqual(
      crypto.hash('sha256', firmware, kernelHashTable(boot)),
    );
  });

  it('SEV-ES: the state of each vCPU follows, without features', () => {
    const page = (eip: number) => vmsaPage('QEMU', eip, cpuSignature, 0n);
    const inputs = { firmware, boot, vcpus: 3, cpuSignature, vmmType: 'QEMU' } as const;
    const states = [page(bootEip), page(0x80b004), page(0x80b004)];
    expect(sevEsLaunchDigest(inputs)).toEqual(
      crypto.hash('sha256', firmware, kernelHashTable(boot), ...states),
    );
  });

  it('a kernel needs a place for its hashes, further vCPUs a reset block', async () => {
    const bare = simulatedSvsm();
    expect(await refusalOf(() => sevLaunchDigest({ firmware: bare, boot }))).toBe('MALFORMED');
    const two = {
      firmware: bare,
      boot: undefined,
      vcpus: 2,
      cpuSignature,
      vmmType: 'QEMU',
    } as const;
    expect(await refusalOf(() => sevEsLaunchDigest(two))).toBe('MALFORMED');
    expect(await refusalOf(() => sevEsLaunchDigest({ ...two, vcpus: 1 }))).toBe('accepted');
  });
});

describe('launch measurement under an SVSM', () => {
  const svsm = simulatedSvsm({ build: 7 });
  const inputs: SvsmLaunchInputs = {
    firmware,
    svsm,
    variableStoreLength: 0x84000,
    vcpus: 2,
    cpuSignature,
  };

  it('is firmware, SVSM, what its metadata names, then the vCPUs (Coconut QEMU)', () => {
    const svsmGpa = 2 ** 32 - firmware.length - 0x84000 - svsm.length;
    let ld: Uint8Array = new Uint8Array(48);
    const extend = (type: number, gpa: number, contents: Uint8Array = new Uint8Array(48)) => {
      const info = new Uint8Array(0x70);
      const view = new DataView(info.buffer);
      info.set(concat(ld, contents));
      view.setUint16(96, 0x70, true);
      view.setUint8(98, type);
      view.setBigUint64(104, BigInt(gpa), true);
      ld = crypto.hash('sha384', info);
    };
    const pages = (image: Uint8Array, gpa: number) => {
      for (let at = 0; at < image.length; at += 0x1000) {
        extend(1, gpa + at, crypto.hash('sha384', image.subarray(at, at + 0x1000)));
      }
    };
    pages(firmware, 2 ** 32 - firmware.length);
    pages(svsm, svsmGpa);
    const pageTypes: Record<number, number> = { 1: 3, 2: 5, 3: 6, 4: 3, 16: 3 };
    for (const { gpa, size, type } of parseFirmware(svsm).sections) {
      const length = type === 2 || type === 3 ? 0x1000 : size;
      for (let at = 0; at < length; at += 0x1000) extend(pageTypes[type]!, gpa + at);
    }
    const state = crypto.hash('sha384', svsmVmsaPage(svsmGpa + 0x40, cpuSignature));
    extend(2, 0xffff_ffff_f000, state);
    extend(2, 0xffff_ffff_f000, state);
    expect(toHex(svsmLaunchMeasurement(inputs))).toBe(toHex(ld));
  });

  it.each<[string, Partial<SvsmLaunchInputs>]>([
    ['the firmware', { firmware: simulatedFirmware({ build: 1 }) }],
    ['the SVSM', { svsm: simulatedSvsm({ build: 8 }) }],
    ['the length of the variable store', { variableStoreLength: 0 }],
    ['the vCPUs', { vcpus: 1 }],
    ['the CPU signature', { cpuSignature: 1 }],
  ])('%s changes it', (_, change) => {
    const value = toHex(svsmLaunchMeasurement({ ...inputs, ...change }));
    expect(value).not.toBe(toHex(svsmLaunchMeasurement(inputs)));
  });

  it.each<[string, Partial<SvsmLaunchInputs>]>([
    ['an image that is no SVSM', { svsm: firmware }],
    ['half a page of variable store', { variableStoreLength: 0x800 }],
    ['a variable store below address 0', { variableStoreLength: 2 ** 32 }],
    ['no vCPU', { vcpus: 0 }],
  ])('%s is refused', async (_, change) => {
    expect(await refusalOf(() => svsmLaunchMeasurement({ ...inputs, ...change }))).toBe(
      'MALFORMED',
    );
  });

  it('vCPUs start in 32-bit protected mode with flat segments', () => {
    const view = new DataView(svsmVmsaPage(0xff00_0040, cpuSignature).buffer);
    expect(view.getUint16(0x10, true)).toBe(8);
    expect(view.getUint16(0x12, true)).toBe(0xc9b);
    expect(view.getUint32(0x14, true)).toBe(0xffff_ffff);
    expect(view.getBigUint64(0x158, true)).toBe(0x11n);
    expect(view.getBigUint64(0x178, true)).toBe(0xff00_0040n);
    expect(view.getBigUint64(0x3b0, true)).toBe(1n);
  });
});

describe('digest of the firmware pages', () => {
  it('stands for all pages but the last in a measurement', () => {
    const whole = simulatedFirmware({ pages: 8 });
    const inputs = { boot, vcpus: 1, cpuSignature, guestFeatures: 1n, vmmType: 'QEMU' } as const;
    const short = {
      ...inputs,
      firmware: whole.subarray(-0x2000),
      firmwarePagesDigest: firmwarePagesDigest(whole),
    };
    expect(launchMeasurement(short)).toEqual(launchMeasurement({ ...inputs, firmware: whole }));
  });

  it('has 48 bytes', async () => {
    const inputs = { boot, vcpus: 1, cpuSignature, guestFeatures: 1n, vmmType: 'QEMU' } as const;
    const short = { ...inputs, firmware, firmwarePagesDigest: new Uint8Array(32) };
    expect(await refusalOf(() => launchMeasurement(short))).toBe('SIZE');
  });
});

describe('hostile firmware', () => {
  it('every flipped byte of metadata and footer gives a measurement or a coded error', () => {
    const image = simulatedFirmware({ pages: 2 });
    const places = fc.oneof(
      fc.integer({ min: 0x1000, max: 0x1000 + 100 }),
      fc.integer({ min: 0x2000 - 200, max: 0x2000 - 1 }),
    );
    fc.assert(
      fc.property(places, fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = image.slice();
        changed[at]! ^= flip;
        refusalAtOnce(() => parseFirmware(changed));
      }),
      { numRuns: 400 },
    );
  });
});
