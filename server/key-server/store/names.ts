import { equalBytes, fromBase64Url, fromUtf8, toBase64Url, utf8 } from '#core/bytes.js';
import type { Crypto, HmacKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { hkdfExpand } from '#core/hkdf.js';

const ivLength = 16;
const keptMax = 20_000;

/**
 * Seals names of tenants and policies, so that the keys of a database tell nobody whose records they
 * are. Deterministic, since a record is looked up by its name: the same name looks the same. Built as
 * SIV (RFC 5297 s.2.6): a MAC of the name is the nonce of its encryption and proves it on opening.
 */
export class NameSealer {
  readonly #crypto: Crypto;
  readonly #macKey: HmacKey;
  readonly #streamKey: HmacKey;
  readonly #sealed = new Map<string, string>();

  /** @param kek the server's, 32 bytes; not kept */
  constructor(crypto: Crypto, kek: Uint8Array) {
    const handle = (label: string) => {
      const key = hkdfExpand('sha256', kek, utf8(label), 32);
      const taken = crypto.hmacKey(key);
      key.fill(0);
      return taken;
    };
    this.#crypto = crypto;
    this.#macKey = handle('CVMP/1 names mac');
    this.#streamKey = handle('CVMP/1 names stream');
  }

  /** At most 63 characters become at most 106 of base64url. */
  seal(name: string): string {
    const known = this.#sealed.get(name);
    if (known !== undefined) return known;
    const bytes = utf8(name);
    const iv = this.#mac(bytes);
    const sealed = toBase64Url(this.#joined(iv, bytes));
    if (this.#sealed.size >= keptMax) this.#sealed.clear();
    this.#sealed.set(name, sealed);
    return sealed;
  }

  /** @throws CvmpError STORE_CORRUPT */
  open(sealed: string): string {
    let bytes: Uint8Array;
    try {
      bytes = fromBase64Url(sealed);
    } catch (cause) {
      throw new CvmpError('STORE_CORRUPT', 'a name of the store does not open', { cause });
    }
    const iv = bytes.subarray(0, ivLength);
    const name = this.#joined(iv, bytes.subarray(ivLength)).subarray(ivLength);
    if (!equalBytes(iv, this.#mac(name))) {
      throw new CvmpError('STORE_CORRUPT', 'a name of the store does not open');
    }
    return fromUtf8(name);
  }

  #mac(name: Uint8Array): Uint8Array {
    return this.#crypto.hmac('sha256', this.#macKey, name).subarray(0, ivLength);
  }

  /** The nonce, then the name in its stream. */
  #joined(iv: Uint8Array, text: Uint8Array): Uint8Array {
    const stream = hkdfExpand('sha256', this.#streamKey, iv, text.length);
    const out = new Uint8Array(ivLength + text.length);
    out.set(iv);
    for (const [i, byte] of text.entries()) out[ivLength + i] = byte ^ (stream[i] ?? 0);
    return out;
  }
}
