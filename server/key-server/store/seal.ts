import { encode } from '#core/cbor/encode.js';
import type { Crypto } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import type { Expectation, Stored } from './store.js';

type RandomBytes = Crypto['randomBytes'];

const nonceLength = 24;

/** A put whose value is sealed only when it is about to be written. */
export interface LatePut extends Expectation {
  readonly version: number;
  seal(): Uint8Array;
}

/**
 * Seals records by XChaCha20-Poly1305 under one key. The associated data is the deterministic CBOR
 * of [store id, key of the record, its version], so that a record that was changed, copied, swapped,
 * renumbered or taken from another store does not open.
 */
export class RecordSealer {
  readonly #crypto: Crypto;
  readonly #key: Uint8Array;
  readonly #storeId: Uint8Array;
  readonly #randomBytes: RandomBytes;

  /** @param key 32 bytes, kept */
  constructor(crypto: Crypto, key: Uint8Array, storeId: Uint8Array, randomBytes: RandomBytes) {
    this.#crypto = crypto;
    this.#key = key;
    this.#storeId = storeId;
    this.#randomBytes = randomBytes;
  }

  /** Nonce (24 bytes, random), ciphertext, tag. */
  seal(key: string, version: number, plaintext: Uint8Array): Uint8Array {
    const nonce = this.#randomBytes(nonceLength);
    const sealed = this.#crypto.xchachaSeal(this.#key, nonce, plaintext, this.#aad(key, version));
    const out = new Uint8Array(nonceLength + sealed.length);
    out.set(nonce);
    out.set(sealed, nonceLength);
    return out;
  }

  /** @throws CvmpError STORE_CORRUPT */
  open(key: string, { value, version }: Stored): Uint8Array {
    try {
      return this.#crypto.xchachaOpen(
        this.#key,
        value.subarray(0, nonceLength),
        value.subarray(nonceLength),
        this.#aad(key, version),
      );
    } catch (cause) {
      throw new CvmpError('STORE_CORRUPT', `the record ${key} does not open`, { cause });
    }
  }

  /** The next version of a record. @param expected its version now, 0 where it is not there */
  put(key: string, expected: number, plaintext: Uint8Array): LatePut {
    const version = expected + 1;
    return { key, expected, version, seal: () => this.seal(key, version, plaintext) };
  }

  #aad(key: string, version: number): Uint8Array {
    return encode([this.#storeId, key, version]);
  }
}
