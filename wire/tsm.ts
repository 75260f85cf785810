import { concat } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';

/**
 * File operations of configfs-tsm over a stream, between a Key Agent and the simulated security
 * processor of its CVM, where there is no kernel to ask (Linux Documentation/ABI/testing/
 * configfs-tsm-report). Each frame is a 32-bit big-endian length and that many bytes of
 * deterministic CBOR; a connection carries one request at a time, and its answer.
 */

export type TsmOperation = 'mkdir' | 'rmdir' | 'write' | 'read';

/** One operation on the report folder. */
export interface TsmRequest {
  readonly operation: TsmOperation;
  /** Below the report folder: `NAME` or `NAME/outblob`. */
  readonly path: string;
  /** What to write; empty for the other operations. */
  readonly data: Uint8Array;
}

/** What came of it: the bytes read (empty for the other operations), or the errno as Linux names it. */
export type TsmResponse = { readonly data: Uint8Array } | { readonly errno: string };

const operations: readonly TsmOperation[] = ['mkdir', 'rmdir', 'write', 'read'];

/** A report with the largest certificate table that a host may supply fits well. */
export const tsmFrameBytesMax = 1 << 20;
const pathMax = 128;

/** One frame. */
export function encodeTsmRequest({ operation, path, data }: TsmRequest): Uint8Array {
  return frame(
    new Map<number, CborValue>([
      [1, operation],
      [2, path],
      [3, data],
    ]),
  );
}

/** @param body of a frame @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeTsmRequest(body: Uint8Array): TsmRequest {
  return decodeMap(body, 'tsm', (m) => {
    const name = m.text(1, 'operation');
    const operation = operations.find((o) => o === name);
    if (operation === undefined) {
      throw new CvmpError('MALFORMED', `there is no operation ${name}`, { field: 'tsm.operation' });
    }
    return { operation, path: m.text(2, 'path', { max: pathMax }), data: m.bytes(3, 'data') };
  });
}

/** One frame. */
export function encodeTsmResponse(response: TsmResponse): Uint8Array {
  const entry: [number, CborValue] = 'errno' in response ? [2, response.errno] : [1, response.data];
  return frame(new Map([entry]));
}

/** @param body of a frame @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeTsmResponse(body: Uint8Array): TsmResponse {
  return decodeMap(body, 'tsm', (m) =>
    m.has(2) ? { errno: m.text(2, 'errno', { min: 1, max: 32 }) } : { data: m.bytes(1, 'data') },
  );
}

/** Cuts a stream into the bodies of its frames. */
export class TsmFrames {
  #rest: Uint8Array = new Uint8Array(0);

  /** The bodies that `chunk` completes. @throws CvmpError SIZE for a frame beyond the limit */
  push(chunk: Uint8Array): Uint8Array[] {
    let buffer = concat(this.#rest, chunk);
    const bodies: Uint8Array[] = [];
    for (;;) {
      if (buffer.length < 4) break;
      const length = new DataView(buffer.buffer, buffer.byteOffset).getUint32(0);
      if (length > tsmFrameBytesMax) {
        throw new CvmpError('SIZE', `frame of ${length} bytes, at most ${tsmFrameBytesMax}`);
      }
      if (buffer.length < 4 + length) break;
      bodies.push(buffer.slice(4, 4 + length));
      buffer = buffer.subarray(4 + length);
    }
    this.#rest = buffer;
    return bodies;
  }
}

function frame(content: CborValue): Uint8Array {
  const body = encode(content);
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, body.length);
  return concat(head, body);
}
