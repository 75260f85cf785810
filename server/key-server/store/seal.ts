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

/** Versions of a sealing key: new records get the newest, older ones open what is left. */
export interface SealingKeys {
  /** 1 to 65535. */
  readonly newest: number;
  /** 32 bytes; undefined where this version was destroyed. */
  readonly key: (version: number) => Uint8Array | undefined;
}

/** A key that has no other version. */
export function onlyKey(key: Uint8Array): SealingKeys {
  return { newest: 1, key: (version) => (version === 1 ? key : undefined) };
}

const keyVersionLength = 2;

/** Version of the key under which a record is sealed. @throws CvmpError STORE_CORRUPT */
export function sealedUnder(key: string, { value }: Stored): number {
  const [high, low] = value;
  if (high === undefined || low === undefined) throw notOpen(key);
  return high * 256 + low;
}

/**
 * Seals records by XChaCha20-Poly1305. The associated data is the deterministic CBOR of [store id, key
 * of the record, its version], so that a record that was changed, copied, swapped, renumbered or
 * taken from another store does not open.
 */
export class RecordSealer {
  readonly #crypto: Crypto;
  readonly #keys: SealingKeys;
  readonly #storeId: Uint8Array;
  readonly #randomBytes: RandomBytes;

  constructor(crypto: Crypto, keys: SealingKeys, storeId: Uint8Array, randomBytes: RandomBytes) {
    this.#crypto = crypto;
    this.#keys = keys;
    this.#storeId = storeId;
    this.#randomBytes = randomBytes;
  }

  /** Version of the sealing key (2 bytes), nonce (24 bytes, random), ciphertext, tag. */
  seal(key: string, version: number, plaintext: Uint8Array): Uint8Array {
    const { newest } = this.#keys;
    const nonce = this.#randomBytes(nonceLength);
    const aad = this.#aad(key, version);
    const sealed = this.#crypto.xchachaSeal(this.#key(key, newest), nonce, plaintext, aad);
    const out = new Uint8Array(keyVersionLength + nonceLength + sealed.length);
    out[0] = newest >> 8;
    out[1] = newest;
    out.set(nonce, keyVersionLength);
    out.set(sealed, keyVersionLength + nonceLength);
    return out;
  }

  /** @throws CvmpError STORE_CORRUPT */
  open(key: string, stored: Stored): Uint8Array {
    const sealingKey = this.#key(key, sealedUnder(key, stored));
    const value = stored.value.subarray(keyVersionLength);
    try {
      return this.#crypto.xchachaOpen(
        sealingKey,
        value.subarray(0, nonceLength),
        value.subarray(nonceLength),
        this.#aad(key, stored.version),
      );
    } catch (cause) {
      throw notOpen(key, cause);
    }
  }

  /** The next version of a record. @param expected its version now, 0 where it is not there */
  put(key: string, expected: number, plaintext: Uint8Array): LatePut {
    const version = expected + 1;
    return { key, expected, version, seal: () => this.seal(key, version, plaintext) };
  }

  #key(key: string, version: number): Uint8Array {
    const found = this.#keys.key(version);
    if (found === undefined) throw notOpen(key);
    return found;
  }

  #aad(key: string, version: number): Uint8Array {
    return encode([this.#storeId, key, version]);
  }
}

function notOpen(key: string, cause?: unknown): CvmpError {
  return new CvmpError('STORE_CORRUPT', `the record ${key} does not open`, { cause });
}
