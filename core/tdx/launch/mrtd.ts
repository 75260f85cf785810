import { crypto } from '#crypto';
import { utf8 } from '../../bytes.js';
import { pageLength, parseTdvf, type TdvfSection, tdvfAttribute } from './tdvf.js';

/**
 * How the hypervisor adds a section. `page`: each page, then its contents (Linux 6.16 and QEMU 10.1,
 * the interface that was merged). `section`: all pages, then all contents (out-of-tree KVM and QEMU 8).
 */
export type PageOrder = 'page' | 'section';

export const pageOrders: readonly PageOrder[] = ['page', 'section'];

/** Both operations extend MRTD by 128 bytes; TDH.MR.EXTEND by 256 bytes of contents too. */
const recordLength = 128;
const chunkLength = 256;
const chunksPerPage = pageLength / chunkLength;
const gpaOffset = 16;

const pageAdd = utf8('MEM.PAGE.ADD');
const mrExtend = utf8('MR.EXTEND');

/**
 * MRTD of a TD that is launched with a firmware image (TDX Module Base Spec s.12.2: SHA-384 over what
 * TDH.MEM.PAGE.ADD and TDH.MR.EXTEND say).
 * @returns 48 bytes
 * @throws CvmpError MALFORMED
 */
export function predictMrTd(image: Uint8Array, order: PageOrder = 'page'): Uint8Array {
  return crypto.hash('sha384', ...parseTdvf(image).map((section) => records(section, order)));
}

/** What a section adds to the stream that is hashed. */
function records(section: TdvfSection, order: PageOrder): Uint8Array {
  const { attributes, memoryLength } = section;
  if ((attributes & tdvfAttribute.pageAug) !== 0) return new Uint8Array();
  const pages = memoryLength / pageLength;
  const extended = (attributes & tdvfAttribute.mrExtend) !== 0;
  const perExtend = extended ? chunksPerPage * (recordLength + chunkLength) : 0;
  const out = new Uint8Array(pages * (recordLength + perExtend));
  const isByPage = order === 'page';
  for (let page = 0; page < pages; page++) {
    const addAt = page * (isByPage ? recordLength + perExtend : recordLength);
    putRecord(out, addAt, pageAdd, section.gpa + page * pageLength);
    if (!extended) continue;
    const extendAt = isByPage ? addAt + recordLength : pages * recordLength + page * perExtend;
    putContents(out, extendAt, section, page);
  }
  return out;
}

function putContents(out: Uint8Array, start: number, section: TdvfSection, page: number): void {
  for (let chunk = 0; chunk < chunksPerPage; chunk++) {
    const offset = page * pageLength + chunk * chunkLength;
    const at = start + chunk * (recordLength + chunkLength);
    putRecord(out, at, mrExtend, section.gpa + offset);
    out.set(section.contents.subarray(offset, offset + chunkLength), at + recordLength);
  }
}

function putRecord(out: Uint8Array, at: number, name: Uint8Array, gpa: number): void {
  out.set(name, at);
  new DataView(out.buffer).setBigUint64(at + gpaOffset, BigInt(gpa), true);
}
