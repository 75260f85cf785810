import { open } from 'node:fs/promises';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { CommandContext } from '../command.js';
import { readTypedBytes } from '../terminal/typed.js';

/** One thing that entered a prediction, as people read it. */
export interface InputRow {
  readonly name: string;
  readonly value: string;
}

/** Reads what a prediction depends on, and remembers it for the answer. */
export class Inputs {
  readonly rows: InputRow[] = [];
  readonly #context: CommandContext;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  /** Something that is not a file. */
  note(name: string, value: string | number | bigint): void {
    this.rows.push({ name, value: String(value) });
  }

  /** Contents of a file. @throws CvmpError USAGE */
  async file(name: string, typed: string): Promise<Uint8Array> {
    const bytes = await readTypedBytes(this.#context, typed);
    this.#noteBytes(name, typed, bytes);
    return bytes;
  }

  async optional(name: string, typed: string | undefined): Promise<Uint8Array | undefined> {
    return typed === undefined ? undefined : this.file(name, typed);
  }

  /** The first bytes of a file that may be a whole disk. @throws CvmpError USAGE */
  async head(name: string, typed: string, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    try {
      const file = await open(this.#context.path(typed));
      try {
        const { bytesRead } = await file.read(bytes, 0, length, 0);
        const head = bytes.subarray(0, bytesRead);
        this.#noteBytes(`${name} (start)`, typed, head);
        return head;
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw new CvmpError('USAGE', `cannot read ${typed}: ${(cause as Error).message}`, { cause });
    }
  }

  #noteBytes(name: string, typed: string, bytes: Uint8Array): void {
    const digest = toHex(crypto.hash('sha256', bytes));
    this.note(name, `${typed} (${bytes.length} bytes, SHA-256 ${digest})`);
  }
}

/** One of several words. @throws CvmpError USAGE naming the option */
export function oneOf<const T extends string>(
  typed: string | undefined,
  option: string,
  words: readonly T[],
  otherwise: T,
): T {
  if (typed === undefined) return otherwise;
  const found = words.find((word) => word === typed);
  if (found !== undefined) return found;
  throw new CvmpError('USAGE', `--${option} must be one of ${words.join(', ')}`, { field: option });
}
