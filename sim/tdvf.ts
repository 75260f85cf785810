import { pageLength } from '#core/snp/launch/firmware.js';
import {
  tdvfAttribute,
  tdvfMetadataGuid,
  tdvfSectionType,
  tdvfSignature,
  tdvfVersion,
} from '#core/tdx/launch/tdvf.js';
import { imageWithFooter, u32s } from './firmware.js';

/** A minimal TDVF image. */
export interface SimulatedTdvfOptions {
  /** Whole pages of boot firmware, behind those of the variable store. */
  readonly pages?: number;
  /** Fills the boot firmware, so that images of different builds differ. */
  readonly build?: number;
  /** Contents of the CFV section, whole pages. */
  readonly variables?: Uint8Array;
}

/** Where OVMF keeps what a TD starts with, in the order of its metadata. */
const memory: readonly (readonly [gpa: number, size: number, type: number])[] = [
  [0x81_0000, 0x1_0000, tdvfSectionType.tempMem],
  [0x80_b000, 0x2000, tdvfSectionType.tempMem],
  [0x80_9000, 0x2000, tdvfSectionType.tdHob],
  [0x80_0000, 0x6000, tdvfSectionType.tempMem],
];
const imageEnd = 0x1_0000_0000;

/**
 * An image with all that a TDX measurement reads, and no code: variable store (CFV), boot firmware
 * (BFV), TDVF descriptor, footer table. The same options give the same bytes.
 */
export function simulatedTdvf(options: SimulatedTdvfOptions = {}): Uint8Array {
  const variables = options.variables ?? new Uint8Array(2 * pageLength);
  const length = (options.pages ?? 4) * pageLength;
  const image = new Uint8Array(variables.length + length).fill((options.build ?? 0) & 0xff);
  image.set(variables);
  const start = imageEnd - image.length;
  const sections = [
    section(variables.length, length, start + variables.length, length, 0, tdvfAttribute.mrExtend),
    section(0, variables.length, start, variables.length, tdvfSectionType.cfv, 0),
    ...memory.map(([gpa, size, type]) => section(0, 0, gpa, size, type, 0)),
  ];
  const descriptor = u32s(
    tdvfSignature,
    16 + 32 * sections.length,
    tdvfVersion,
    sections.length,
    ...sections.flat(),
  );
  image.set(descriptor, image.length - pageLength);
  return imageWithFooter(image, [[tdvfMetadataGuid, u32s(pageLength)]]);
}

function section(
  offset: number,
  length: number,
  gpa: number,
  memoryLength: number,
  type: number,
  attributes: number,
): readonly number[] {
  return [offset, length, gpa, 0, memoryLength, 0, type, attributes];
}
