import { concat } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import { malformedFirmware } from '../../firmware/footer-table.js';
import { type TdvfSection, tdvfSectionType } from './tdvf.js';

/** Types of EFI_HOB_RESOURCE_DESCRIPTOR (PI 1.7 vol. 3, s.5.5; the second one from PI 1.8). */
const resource = { memory: 0, unaccepted: 7 } as const;
/** Present, initialised, tested. */
const resourceAttributes = 7;
const fourGib = 0x1_0000_0000;

/** QEMU's q35: guests of this much memory have 2 GiB of it below 4 GiB, smaller ones all. */
const splitFrom = 0xb000_0000;
const lowMemoryMax = 0x8000_0000;

/** Bytes of memory below 4 GiB of a QEMU q35 guest. */
export function lowMemory(memory: number): number {
  return memory < splitFrom ? memory : lowMemoryMax;
}

/**
 * The TD HOB that QEMU writes for a q35 guest: which memory the TD was launched with, and which it
 * still has to accept. Measured into RTMR0.
 * @param memory bytes of the guest
 * @throws CvmpError MALFORMED where the firmware has no place for it, USAGE where memory is too small
 */
export function tdHob(sections: readonly TdvfSection[], memory: number): Uint8Array {
  const [place, second] = sections.filter(({ type }) => type === tdvfSectionType.tdHob);
  if (place === undefined || second !== undefined) throw malformedFirmware('has not one TD HOB');
  const low = lowMemory(memory);
  const ranges = [...acceptedAndNot(sections, low)];
  if (memory > low) ranges.push([resource.unaccepted, fourGib, memory - low]);
  const resources = ranges.map(([type, start, length]) => resourceHob(type, start, length));
  const length = handoffLength + ranges.length * resourceLength;
  if (length + endLength > place.memoryLength) throw malformedFirmware('has too small a TD HOB');
  return concat(handoffHob(place.gpa + length + endLength), ...resources);
}

type Range = readonly [type: number, start: number, length: number];

/** Low memory in the order of addresses: what was added at launch, and the gaps between. */
function acceptedAndNot(sections: readonly TdvfSection[], end: number): readonly Range[] {
  const added = sections
    .filter(({ type }) => type === tdvfSectionType.tdHob || type === tdvfSectionType.tempMem)
    .sort((a, b) => a.gpa - b.gpa);
  const ranges: Range[] = [];
  let at = 0;
  for (const { gpa, memoryLength } of added) {
    if (gpa < at) throw malformedFirmware('has TDX sections that overlap');
    if (gpa > at) ranges.push([resource.unaccepted, at, gpa - at]);
    ranges.push([resource.memory, gpa, memoryLength]);
    at = gpa + memoryLength;
  }
  if (at >= end) {
    throw new CvmpError('USAGE', 'the memory does not hold what the firmware starts with', {
      field: 'memory',
    });
  }
  return [...ranges, [resource.unaccepted, at, end - at]];
}

const handoffLength = 56;
const resourceLength = 48;
const endLength = 8;
const handoffVersion = 9;

/** EFI_HOB_HANDOFF_INFO_TABLE. @param end address after the end-of-list HOB */
function handoffHob(end: number): Uint8Array {
  const out = new Uint8Array(handoffLength);
  const view = new DataView(out.buffer);
  view.setUint16(0, 1, true);
  view.setUint16(2, handoffLength, true);
  view.setUint32(8, handoffVersion, true);
  view.setBigUint64(48, BigInt(end), true);
  return out;
}

function resourceHob(type: number, start: number, length: number): Uint8Array {
  const out = new Uint8Array(resourceLength);
  const view = new DataView(out.buffer);
  view.setUint16(0, 3, true);
  view.setUint16(2, resourceLength, true);
  view.setUint32(24, type, true);
  view.setUint32(28, resourceAttributes, true);
  view.setBigUint64(32, BigInt(start), true);
  view.setBigUint64(40, BigInt(length), true);
  return out;
}
