import { describe, expect, it } from 'vitest';
import { toHex, utf8 } from '#core/bytes.js';
import { pageLength, parseFirmware, sectionType } from '#core/snp/launch/firmware.js';
import { kernelHashTable } from '#core/snp/launch/kernel-hashes.js';
import { type LaunchInputs, launchMeasurement } from '#core/snp/launch/measure.js';
import { cpuSignature, vcpuTypes } from '#core/snp/launch/vcpu-types.js';
import { bootEip, vmsaPage } from '#core/snp/launch/vmsa.js';
import { crypto } from '#crypto';
import { simulatedFirmware } from '#sim/firmware.js';
import { testLaunchInputs } from '../../../fakes/simulated-hardware.js';
import { refusalOf } from '../../../refusal.js';

const measure = (change: Partial<LaunchInputs> = {}) =>
  toHex(launchMeasurement({ ...testLaunchInputs, ...change }));
const base = measure();
const boot = testLaunchInputs.boot!;
const otherDigest = crypto.hash('sha256', utf8('other'));

describe('launch measurement (SEV-SNP ABI s.8.17; protocol.md s.5)', () => {
  it('the same inputs give the same 48 bytes', () => {
    expect(base).toHaveLength(96);
    expect(measure({ firmware: simulatedFirmware() })).toBe(base);
  });

  it.each<[what: string, change: Partial<LaunchInputs>]>([
    ['firmware', { firmware: simulatedFirmware({ build: 1 }) }],
    ['length of the firmware', { firmware: simulatedFirmware({ pages: 5 }) }],
    ['kernel', { boot: { ...boot, kernelDigest: otherDigest } }],
    ['initrd', { boot: { ...boot, initrdDigest: otherDigest } }],
    ['command line', { boot: { ...boot, cmdline: 'console=ttyS0 debug' } }],
    ['no measured boot', { boot: undefined }],
    ['vCPUs', { vcpus: 2 }],
    ['CPU signature', { cpuSignature: 1 }],
    ['guest features', { guestFeatures: 0x21n }],
    ['VMM', { vmmType: 'EC2' }],
    ['another VMM', { vmmType: 'GCE' }],
  ])('%s changes it', (_, change) => {
    expect(measure(change)).not.toBe(base);
  });

  it('each vCPU counts', () => {
    expect(new Set([1, 2, 3, 4].map((vcpus) => measure({ vcpus }))).size).toBe(4);
  });

  it('the digest of the firmware pages stands for the pages', () => {
    const firmware = simulatedFirmware({ pages: 8 });
    let digest: Uint8Array = new Uint8Array(48);
    for (let at = 0; at < firmware.length; at += pageLength) {
      const info = new Uint8Array(0x70);
      const view = new DataView(info.buffer);
      info.set(digest);
      info.set(crypto.hash('sha384', firmware.subarray(at, at + pageLength)), 48);
      view.setUint16(96, 0x70, true);
      view.setUint8(98, 1);
      view.setBigUint64(104, BigInt(2 ** 32 - firmware.length + at), true);
      digest = crypto.hash('sha384', info);
    }
    const lastPages = firmware.subarray(-2 * pageLength);
    expect(measure({ firmware: lastPages, firmwarePagesDigest: digest })).toBe(
      measure({ firmware }),
    );
  });

  it.each([0, 513, 1.5, Number.NaN])('%s vCPUs are refused', async (vcpus) => {
    expect(await refusalOf(() => measure({ vcpus }))).toBe('MALFORMED');
  });
});

describe('firmware image (OVMF footer table and SEV metadata)', () => {
  it('the simulated image says what a real one says', () => {
    const firmware = parseFirmware(simulatedFirmware());
    expect(firmware.sections.map(({ type }) => type)).toEqual([1, 1, 2, 3, 0x10, 1]);
    expect(firmware.hashTableGpa).toBe(0x81_0c00);
    expect(firmware.apEip).toBe(0x80_b004);
    expect(firmware.gpa).toBe(2 ** 32 - 4 * pageLength);
  });

  /** Offset from the end of the image of the byte that each row changes. */
  const footerEnd = 32;
  const guid = 16;
  it.each<[why: string, change: (image: Uint8Array) => Uint8Array]>([
    ['nothing', () => new Uint8Array()],
    ['half a page', (image) => image.subarray(0, 100)],
    ['no footer GUID', (image) => set(image, footerEnd + 1, 0)],
    ['a footer entry without length', (image) => set(image, footerEnd + guid + 2, 0, 0)],
    ['a footer table beyond the image', (image) => set(image, footerEnd + guid + 2, 0xff, 0xff)],
    ['a wrong metadata signature', (image) => set(image, pageLength, 0)],
    ['another metadata version', (image) => set(image, pageLength - 8, 2)],
    ['too many sections', (image) => set(image, pageLength - 12, 65)],
    ['sections beyond the image', (image) => tail(image, 0x20)],
  ])('%s is refused', async (_, change) => {
    const image = change(simulatedFirmware());
    expect(await refusalOf(() => parseFirmware(image))).toBe('MALFORMED');
  });

  function set(image: Uint8Array, fromEnd: number, ...values: number[]): Uint8Array {
    const out = image.slice();
    out.set(values, out.length - fromEnd);
    return out;
  }

  /** Metadata that begin so close to the end that they cannot fit. */
  function tail(image: Uint8Array, fromEnd: number): Uint8Array {
    const out = image.slice();
    const metadata = out.slice(-pageLength, -pageLength + 16);
    out.set(metadata, out.length - fromEnd);
    const [a, b] = [pageLength & 0xff, pageLength >> 8];
    const at = out.findIndex(
      (_, i) =>
        i > out.length - 200 &&
        out[i] === a &&
        out[i + 1] === b &&
        out[i + 2] === 0 &&
        out[i + 3] === 0,
    );
    out.set([fromEnd, 0, 0, 0], at);
    return out;
  }

  it('a kernel needs a page for its hashes; further vCPUs need a reset block', async () => {
    const bare = withoutFooterEntries(simulatedFirmware());
    expect(await refusalOf(() => measure({ firmware: bare }))).toBe('MALFORMED');
    expect(await refusalOf(() => measure({ firmware: bare, boot: undefined }))).toBe('accepted');
    const two = () => measure({ firmware: bare, boot: undefined, vcpus: 2 });
    expect(await refusalOf(two)).toBe('MALFORMED');
  });

  function withoutFooterEntries(image: Uint8Array): Uint8Array {
    const out = image.slice();
    // A footer table that holds nothing but its own header.
    out.set([18, 0], out.length - footerEnd - guid - 2);
    return out;
  }

  it('a metadata section of unknown type is refused', async () => {
    const image = set(simulatedFirmware(), pageLength - 16 - 8, 0x77);
    expect(await refusalOf(() => measure({ firmware: image }))).toBe('MALFORMED');
    expect(Object.values(sectionType)).not.toContain(0x77);
  });
});

describe('parts of the measurement', () => {
  it('the kernel hash table has QEMU’s length and order', () => {
    const table = kernelHashTable(boot);
    expect(table.length).toBe(176);
    expect(toHex(table.subarray(16, 18))).toBe('a800');
    expect(toHex(table.subarray(36, 68))).toBe(
      toHex(crypto.hash('sha256', utf8('console=ttyS0\0'))),
    );
    expect(toHex(table.subarray(136, 168))).toBe(toHex(boot.kernelDigest));
  });

  it('a VMSA holds entry point, CPU signature and features at their places (APM vol. 2, B-4)', () => {
    const view = new DataView(vmsaPage('QEMU', 0x80b004, 0xa10f10, 0x21n).buffer);
    expect(view.getBigUint64(0x178, true)).toBe(0xb004n);
    expect(view.getBigUint64(0x018, true)).toBe(0x800000n);
    expect(view.getBigUint64(0x310, true)).toBe(0xa10f10n);
    expect(view.getBigUint64(0x3b0, true)).toBe(0x21n);
    const boots = new DataView(vmsaPage('EC2', bootEip, 1, 1n).buffer);
    expect(boots.getBigUint64(0x018, true)).toBe(0xffff0000n);
    expect(boots.getUint16(0x012, true)).toBe(0x9a);
    expect(boots.getBigUint64(0x310, true)).toBe(0x600n);
  });

  it('CPU signatures follow from family, model, stepping', () => {
    expect(cpuSignature(23, 1, 2)).toBe(0x800f12);
    expect(cpuSignature(25, 17, 0)).toBe(0xa10f10);
    expect(cpuSignature(26, 0, 0)).toBe(0xb00f00);
    expect(vcpuTypes['EPYC-v4']).toBe(0x800f12);
  });
});
