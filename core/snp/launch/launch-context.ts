import { crypto } from '#crypto';
import { concat } from '../../bytes.js';
import { pageLength } from './firmware.js';

/** PAGE_TYPE of SNP_LAUNCH_UPDATE. */
export const pageType = {
  normal: 1,
  vmsa: 2,
  zero: 3,
  unmeasured: 4,
  secrets: 5,
  cpuid: 6,
} as const;

export const digestLength = 48;
/** Address that VMSA pages are measured at: the last page of 48 bits. */
const vmsaGpa = 0xffff_ffff_f000;
/** Length of PAGE_INFO, written into itself. */
const pageInfoLength = 0x70;

/** The running launch digest: each page extends it by its PAGE_INFO (SEV-SNP ABI s.8.17). */
export class LaunchContext {
  digest: Uint8Array;

  constructor(digest: Uint8Array = new Uint8Array(digestLength)) {
    this.digest = digest;
  }

  /** Pages whose contents count. */
  measure(type: number, gpa: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += pageLength) {
      const contents = crypto.hash('sha384', bytes.subarray(at, at + pageLength));
      this.#extend(type, gpa + at, contents);
    }
  }

  /** Pages of which only type and address count. */
  mark(type: number, gpa: number, size: number): void {
    for (let at = 0; at < size; at += pageLength) {
      this.#extend(type, gpa + at, new Uint8Array(digestLength));
    }
  }

  /** VMSA pages all lie at one address. */
  vmsa(page: Uint8Array): void {
    this.#extend(pageType.vmsa, vmsaGpa, crypto.hash('sha384', page));
  }

  #extend(type: number, gpa: number, contents: Uint8Array): void {
    // Digest so far, digest of the page, then length, type, IMI and VMPL permissions (none), address.
    const tail = new Uint8Array(pageInfoLength - 2 * digestLength);
    const view = new DataView(tail.buffer);
    view.setUint16(0, pageInfoLength, true);
    view.setUint8(2, type);
    view.setBigUint64(8, BigInt(gpa), true);
    this.digest = crypto.hash('sha384', concat(this.digest, contents, tail));
  }
}
