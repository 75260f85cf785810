import type { DiskFile } from '#agent/disk/disk-file.js';
import { CvmpError } from '#core/errors.js';

export interface DiskWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

let disks = 0;

/** A disk in memory that remembers every write, and can fail at one. */
export class MemoryDisk implements DiskFile {
  readonly path = `memory-${++disks}`;
  readonly content: Uint8Array;
  readonly writes: DiskWrite[] = [];
  /** Writes that still succeed; each later one fails. */
  writesLeft = Number.POSITIVE_INFINITY;

  constructor(content: Uint8Array | number) {
    this.content = typeof content === 'number' ? new Uint8Array(content) : content.slice();
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (offset + length > this.content.length) throw new CvmpError('DISK', 'too small');
    return this.content.slice(offset, offset + length);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.writesLeft-- <= 0) throw new CvmpError('DISK', 'the disk is gone');
    this.writes.push({ offset, bytes: bytes.slice() });
    this.content.set(bytes, offset);
  }

  async close(): Promise<void> {}
}

/** Power fails in the middle of a write: nothing of it, its first or its last half is there. */
export type Torn = 'nothing' | 'first half' | 'last half' | 'all';

/**
 * Every content that a power failure during `writes` may leave: the writes before are there in
 * order (each returned only when it was durable), one is torn, the rest never happened.
 */
export function* contentsAfterPowerFailure(
  before: Uint8Array,
  writes: readonly DiskWrite[],
): Generator<{ readonly name: string; readonly content: Uint8Array }> {
  const content = before.slice();
  for (const [i, { offset, bytes }] of writes.entries()) {
    const half = Math.ceil(bytes.length / 2);
    const parts: Record<Torn, readonly [number, number]> = {
      nothing: [0, 0],
      'first half': [0, half],
      'last half': [half, bytes.length],
      all: [0, bytes.length],
    };
    for (const [torn, [from, to]] of Object.entries(parts)) {
      const left = content.slice();
      left.set(bytes.subarray(from, to), offset + from);
      yield { name: `write ${i + 1} of ${writes.length}, ${torn} of it`, content: left };
    }
    content.set(bytes, offset);
  }
}
