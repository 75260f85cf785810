import * as der from '#core/asn1/write.js';
import { concat, utf8 } from '#core/bytes.js';

// Files of a boot, as a test makes them.

/** WIN_CERTIFICATE with a PKCS #7 signature that carries certificates. */
export function signatureTable(...certificates: readonly Uint8Array[]): Uint8Array {
  const set = der.setOf();
  const content = der.sequence(
    der.integer(1),
    set,
    der.sequence(der.oid('1.3.6.1.4.1.311.2.1.4')),
    der.explicit(0, concat(...certificates)),
    set,
  );
  const body = der.sequence(der.oid('1.2.840.113549.1.7.2'), der.explicit(0, content));
  const padding = new Uint8Array(-body.length & 7);
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  view.setUint32(0, 8 + body.length + padding.length, true);
  view.setUint16(4, 0x200, true);
  view.setUint16(6, 2, true);
  return concat(header, body, padding);
}

/** The start of a disk with two partitions. */
export function partitionedDisk(count = 4): Uint8Array {
  const out = new Uint8Array(34 * 512);
  const view = new DataView(out.buffer);
  out.set(utf8('EFI PART'), 512);
  view.setBigUint64(512 + 72, 2n, true);
  view.setUint32(512 + 80, count, true);
  view.setUint32(512 + 84, 128, true);
  out.fill(1, 1024, 1024 + 128);
  out.fill(2, 1024 + 256, 1024 + 384);
  return out;
}

/** A kernel of which only the setup header counts (Linux boot protocol). */
export function linuxKernel(version = 0x20f, xloadFlags = 0x40): Uint8Array {
  const out = new Uint8Array(0x2000);
  const view = new DataView(out.buffer);
  out.set(utf8('HdrS'), 0x202);
  view.setUint16(0x206, version, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint16(0x236, xloadFlags, true);
  return out;
}
