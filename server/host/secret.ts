import { inspect } from 'node:util';

const hidden = '[secret]';

/**
 * Bytes that no log, error or inspection can show by accident. `reveal` says in the code where they
 * are taken out.
 */
export class Secret {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The bytes themselves, not a copy. */
  reveal(): Uint8Array {
    return this.#bytes;
  }

  /** Overwrites the bytes; copies that were made elsewhere stay. */
  dispose(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [inspect.custom](): string {
    return hidden;
  }
}
