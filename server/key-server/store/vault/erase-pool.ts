import { encode } from '#core/cbor/encode.js';
import type { Crypto } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import type { Vault } from './vault.js';

/** A key that only serves to be destroyed: what it went into cannot be had without it. */
export interface EraseKey {
  /** Where the vault keeps it. */
  readonly ref: number;
  /** 32 bytes; the caller zeroises it. */
  readonly key: Uint8Array;
}

const keyLength = 32;
const ivLength = 12;
/** One write and sync for so many new root keys. */
const reservedAtOnce = 128;

interface Tools {
  readonly crypto: Crypto;
  readonly randomBytes: Crypto['randomBytes'];
}

/** Erase keys, made durable before they are needed, and read where they are. */
export class ErasePool {
  readonly #vault: Vault;
  readonly #tools: Tools;
  readonly #key: Uint8Array;
  readonly #ready: EraseKey[] = [];
  #filling: Promise<void> | undefined;

  /** @param key 32 bytes, kept: seals them in the vault */
  constructor(vault: Vault, tools: Tools, key: Uint8Array) {
    this.#vault = vault;
    this.#tools = tools;
    this.#key = key;
  }

  /** One that nobody has, durable. Blocks for a write where all were taken. @throws STORE_WRITE */
  take(): EraseKey {
    if (this.#ready.length < reservedAtOnce / 2) this.#fillSoon();
    const ready = this.#ready.shift();
    if (ready !== undefined) return ready;
    const { keys, seal } = this.#make(reservedAtOnce);
    const first = this.#vault.reserveSync(reservedAtOnce, seal);
    this.#ready.push(...keys.slice(1).map((key, i) => ({ ref: first + 1 + i, key })));
    return { ref: first, key: keys[0]! };
  }

  /** Resolves when there are some to take without blocking. @throws CvmpError STORE_WRITE */
  async ready(): Promise<void> {
    while (this.#ready.length < reservedAtOnce / 2) await (this.#filling ?? this.#fill());
  }

  /** undefined: destroyed. The caller zeroises it. @throws CvmpError STORE_CORRUPT */
  read(ref: number): Uint8Array | undefined {
    const sealed = this.#vault.read(ref);
    if (sealed === undefined) return undefined;
    const [iv, rest] = [sealed.subarray(0, ivLength), sealed.subarray(ivLength)];
    try {
      return this.#tools.crypto.aesGcmOpen(this.#key, iv, rest, this.#aad(ref));
    } catch (cause) {
      throw new CvmpError('STORE_CORRUPT', `the erase key ${ref} does not open`, { cause });
    }
  }

  /** Gives back what was not taken. */
  async close(): Promise<void> {
    await this.#filling;
    const refs = this.#ready.splice(0).map(({ ref, key }) => {
      key.fill(0);
      return ref;
    });
    if (refs.length > 0) await this.#vault.release(refs);
    this.#key.fill(0);
  }

  #fillSoon(): void {
    this.#filling ??= this.#fill()
      // Whoever takes the next one meets the same fault, and says so.
      .catch(() => undefined)
      .finally(() => {
        this.#filling = undefined;
      });
  }

  async #fill(): Promise<void> {
    const { keys, seal } = this.#make(reservedAtOnce);
    const first = await this.#vault.reserve(reservedAtOnce, seal);
    this.#ready.push(...keys.map((key, i) => ({ ref: first + i, key })));
  }

  #make(count: number) {
    const keys = Array.from({ length: count }, () => this.#tools.randomBytes(keyLength));
    let next = 0;
    const seal = (ref: number) => {
      const iv = this.#tools.randomBytes(ivLength);
      const sealed = this.#tools.crypto.aesGcmSeal(this.#key, iv, keys[next++]!, this.#aad(ref));
      const out = new Uint8Array(ivLength + sealed.length);
      out.set(iv);
      out.set(sealed, ivLength);
      return out;
    };
    return { keys, seal };
  }

  #aad(ref: number): Uint8Array {
    return encode(['CVMP/1 erase key', this.#vault.id, ref]);
  }
}
