import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

/** Forms in which a secret might be written. */
function formsOf(secret: Buffer): Buffer[] {
  const base64 = secret.toString('base64').replace(/=+$/, '');
  const texts = [secret.toString('hex'), secret.toString('hex').toUpperCase(), base64];
  texts.push(base64.replaceAll('+', '-').replaceAll('/', '_'));
  return [secret, ...texts.map((text) => Buffer.from(text))];
}

const blockLength = 1 << 16;
const zeros = Buffer.alloc(blockLength);

/** Finds any of many byte strings of 4 bytes and more in one pass. */
class Finder {
  readonly #byStart = new Map<number, Buffer[]>();
  /** Most places are passed over by their first three bytes. */
  readonly #starts = new Uint8Array(1 << 24);
  readonly #longest: number;

  constructor(forms: readonly Buffer[]) {
    for (const form of forms) {
      const start = form.readUInt32BE(0);
      this.#starts[start >>> 8] = 1;
      this.#byStart.set(start, [...(this.#byStart.get(start) ?? []), form]);
    }
    this.#longest = Math.max(...forms.map((form) => form.length));
  }

  /** Whether a file holds one of them. Disks are large, and mostly empty. */
  isIn(path: string): boolean {
    const file = openSync(path, 'r');
    const bytes = Buffer.alloc(this.#longest + blockLength);
    let kept = 0;
    try {
      for (;;) {
        const read = readSync(file, bytes, kept, blockLength, null);
        if (read === 0) return false;
        const isEmpty = bytes.subarray(kept, kept + read).equals(zeros.subarray(0, read));
        const end = kept + read;
        if (this.#isAmong(bytes, isEmpty ? kept : end, end)) return true;
        kept = Math.min(this.#longest, end);
        bytes.copyWithin(0, end - kept, end);
      }
    } finally {
      closeSync(file);
    }
  }

  /** Whether one begins before `until`. */
  #isAmong(bytes: Buffer, until: number, end: number): boolean {
    for (let at = 0; at < until && at + 4 <= end; at++) {
      const three = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
      if (this.#starts[three] === 0) continue;
      for (const form of this.#byStart.get(bytes.readUInt32BE(at)) ?? []) {
        if (at + form.length <= end && form.compare(bytes, at, at + form.length) === 0) return true;
      }
    }
    return false;
  }
}

/** Paths of the files below `folder` that hold one of the canaries. */
export function leaks(folder: string): string[] {
  const list = join(folder, '.canaries');
  if (!existsSync(list)) return [];
  const secrets = new Set(readFileSync(list, 'utf8').trim().split('\n'));
  const finder = new Finder([...secrets].flatMap((line) => formsOf(Buffer.from(line, 'hex'))));
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== '.canaries')
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => finder.isIn(path));
}

/** Makes the folder of the run; at the end no canary may be found in it. */
export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'cvmp-'));
  project.provide('runFolder', folder);
  return () => {
    const found = leaks(folder);
    if (found.length > 0) {
      // An error here alone is printed, but leaves the exit code of the run as it was.
      process.exitCode = 1;
      throw new Error(`a secret was written in the clear; kept for a look: ${found.join(', ')}`);
    }
    rmSync(folder, { recursive: true, force: true });
  };
}
