import { concat, utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import type { Crypto, HmacKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { hkdfExpand } from '#core/hkdf.js';
import { RecordSealer } from './seal.js';
import type { EraseKey, ErasePool } from './vault/erase-pool.js';

/** Which root key: what binds it to its record. */
export interface RootKeyContext {
  readonly tenantId: string;
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  readonly epoch: number;
}

const keyLength = 32;
const ivLength = 12;
/** Version of the KEK (2 bytes), reference of the erase key (6 bytes), iv, sealed root key. */
const headLength = 8;
const wrappedLength = headLength + ivLength + keyLength + 16;

/** What the KEK of one version is used for. */
interface Version {
  readonly recordKey: Uint8Array;
  readonly wrapKey: HmacKey;
}

interface Tools {
  readonly crypto: Crypto;
  readonly randomBytes: Crypto['randomBytes'];
  readonly storeId: Uint8Array;
  readonly erase: ErasePool;
}

/** What a tenant's key encryption key (KEK) is used for; several versions while it is replaced. */
export class TenantKeys {
  readonly records: RecordSealer;
  readonly #tools: Tools;
  readonly #versions = new Map<number, Version>();
  #newest = 0;

  constructor(tools: Tools) {
    this.#tools = tools;
    const sealing = { key: (version: number) => this.#versions.get(version)?.recordKey };
    const keys = Object.defineProperty(sealing, 'newest', { get: () => this.#newest });
    this.records = new RecordSealer(
      tools.crypto,
      keys as typeof sealing & { readonly newest: number },
      tools.storeId,
      tools.randomBytes,
    );
  }

  /** Version of the KEK under which new records are sealed. */
  get newest(): number {
    return this.#newest;
  }

  /** Takes another version of the KEK, and seals under the newest from now on. Overwrites `kek`. */
  add(version: number, kek: Uint8Array): void {
    const derive = (label: string) => hkdfExpand('sha256', kek, utf8(label), keyLength);
    const wrapKey = derive('CVMP/1 root keys');
    this.#versions.set(version, {
      recordKey: derive('CVMP/1 records'),
      wrapKey: this.#tools.crypto.hmacKey(wrapKey),
    });
    wrapKey.fill(0);
    kek.fill(0);
    this.#newest = Math.max(this.#newest, version);
  }

  /** Forgets an older version. */
  drop(version: number): void {
    this.#versions.get(version)?.recordKey.fill(0);
    this.#versions.delete(version);
  }

  /** Forgets all; nothing opens any more. */
  close(): void {
    for (const version of [...this.#versions.keys()]) this.drop(version);
  }

  /**
   * Wraps a root key by AES-256-GCM under a key of the KEK and of an erase key that goes into nothing
   * else: without either it cannot be had. Cached records hold root keys only so.
   */
  wrapRootKey(rootKey: Uint8Array, context: RootKeyContext, erase: EraseKey): Uint8Array {
    const { crypto, randomBytes } = this.#tools;
    const iv = randomBytes(ivLength);
    const head = encodeHead(this.#newest, erase.ref);
    const key = this.#wrapKey(this.#newest, erase.key);
    const sealed = crypto.aesGcmSeal(key, iv, rootKey, aad(head, context));
    key.fill(0);
    return concat(head, iv, sealed);
  }

  /**
   * To derive from; the key itself stays where nothing reads it.
   * @throws CvmpError KEY_DESTROYED where its erase key is no more; STORE_CORRUPT
   */
  unwrapRootKey(wrapped: Uint8Array, context: RootKeyContext): HmacKey {
    const rootKey = this.#open(wrapped, context);
    const handle = this.#tools.crypto.hmacKey(rootKey);
    rootKey.fill(0);
    return handle;
  }

  /** The same root key under the newest KEK. @throws as unwrapRootKey */
  rewrapRootKey(wrapped: Uint8Array, context: RootKeyContext): Uint8Array {
    const ref = eraseRefOf(wrapped);
    const rootKey = this.#open(wrapped, context);
    const key = this.#eraseKey(ref);
    const again = this.wrapRootKey(rootKey, context, { ref, key });
    key.fill(0);
    rootKey.fill(0);
    return again;
  }

  #open(wrapped: Uint8Array, context: RootKeyContext): Uint8Array {
    const { version, ref } = decodeHead(wrapped);
    const erase = this.#eraseKey(ref);
    const key = this.#wrapKey(version, erase);
    erase.fill(0);
    const iv = wrapped.subarray(headLength, headLength + ivLength);
    const sealed = wrapped.subarray(headLength + ivLength);
    try {
      const head = wrapped.subarray(0, headLength);
      return this.#tools.crypto.aesGcmOpen(key, iv, sealed, aad(head, context));
    } catch (cause) {
      throw new CvmpError('STORE_CORRUPT', 'a root key does not unwrap', { cause });
    } finally {
      key.fill(0);
    }
  }

  #eraseKey(ref: number): Uint8Array {
    const erase = this.#tools.erase.read(ref);
    if (erase === undefined) {
      throw new CvmpError('KEY_DESTROYED', `the erase key ${ref} of this key is destroyed`);
    }
    return erase;
  }

  /** HMAC-SHA256 by a key of the KEK over label and erase key: random to who lacks either. */
  #wrapKey(version: number, erase: Uint8Array): Uint8Array {
    const found = this.#versions.get(version);
    if (found === undefined) {
      throw new CvmpError('STORE_CORRUPT', `there is no KEK of version ${version}`);
    }
    return this.#tools.crypto.hmac('sha256', found.wrapKey, wrapLabel, erase);
  }
}

const wrapLabel = utf8('CVMP/1 root key');

/** Which erase key a wrapped root key hangs on. @throws CvmpError STORE_CORRUPT */
export function eraseRefOf(wrapped: Uint8Array): number {
  return decodeHead(wrapped).ref;
}

/** Version of the KEK under which a root key is wrapped. @throws CvmpError STORE_CORRUPT */
export function kekVersionOf(wrapped: Uint8Array): number {
  return decodeHead(wrapped).version;
}

function encodeHead(version: number, ref: number): Uint8Array {
  const head = Buffer.alloc(headLength);
  head.writeUIntBE(version, 0, 2);
  head.writeUIntBE(ref, 2, 6);
  return new Uint8Array(head);
}

function decodeHead(wrapped: Uint8Array): { readonly version: number; readonly ref: number } {
  if (wrapped.length !== wrappedLength) {
    throw new CvmpError('STORE_CORRUPT', 'a wrapped root key is cut off');
  }
  const head = Buffer.from(wrapped.buffer, wrapped.byteOffset, headLength);
  return { version: head.readUIntBE(0, 2), ref: head.readUIntBE(2, 6) };
}

function aad(head: Uint8Array, { tenantId, keyId, epoch }: RootKeyContext): Uint8Array {
  return encode(['CVMP/1 root key', head, tenantId, keyId, epoch]);
}
