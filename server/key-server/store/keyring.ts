import { utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import type { Crypto, HmacKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { hkdfExpand } from '#core/hkdf.js';
import type { MasterKey } from './master-key.js';
import { type LatePut, RecordSealer } from './seal.js';
import type { Put, Store } from './store.js';

const kekLength = 32;
const ivLength = 12;
const serverPlace = 'kek/server';
const tenantPlace = (tenantId: string) => `kek/tenant/${tenantId}`;

/** Which root key: what binds it to its record. */
export interface RootKeyContext {
  readonly tenantId: string;
  readonly keyId: Uint8Array;
  readonly epoch: number;
}

/** What a tenant's key encryption key (KEK) is used for. */
export interface TenantKeys {
  readonly records: RecordSealer;
  /** AES-256-GCM: iv (12 bytes), ciphertext, tag. Cached records hold root keys only so. */
  wrapRootKey(rootKey: Uint8Array, context: RootKeyContext): Uint8Array;
  /** To derive from; the key itself stays where nothing reads it. @throws CvmpError STORE_CORRUPT */
  unwrapRootKey(wrapped: Uint8Array, context: RootKeyContext): HmacKey;
}

interface Tools {
  readonly crypto: Crypto;
  readonly randomBytes: Crypto['randomBytes'];
  readonly masterKey: MasterKey;
}

type Place = Pick<Store, 'id'>;

/** The first record of a store: the server's own KEK. */
export function initKeyring(place: Place, tools: Tools): Promise<{ put: Put; keyring: Keyring }> {
  return newKek(place, serverPlace, tools).then(({ put, kek }) => ({
    put,
    keyring: new Keyring(place, tools, kek),
  }));
}

/** @throws CvmpError STORE_CORRUPT, CONFIG: the master key is of another store */
export async function openKeyring(store: Store, tools: Tools): Promise<Keyring> {
  return new Keyring(store, tools, await readKek(store, store, serverPlace, tools));
}

/**
 * Keys that records are sealed under: one KEK for the server's own records and one for each tenant,
 * so that destroying a tenant's makes all of its records unreadable, in backups too where KEKs are
 * kept apart. KEKs in use stay in memory, root keys in use outside of the JavaScript heap.
 */
export class Keyring {
  readonly server: RecordSealer;
  readonly #place: Place;
  readonly #tools: Tools;
  readonly #tenants = new Map<string, TenantKeys>();

  constructor(place: Place, tools: Tools, serverKek: Uint8Array) {
    this.#place = place;
    this.#tools = tools;
    this.server = sealer(place, tools, serverKek);
  }

  /** A KEK for a new tenant; it counts once the put is durable. */
  async newTenant(tenantId: string): Promise<LatePut> {
    const { put } = await newKek(this.#place, tenantPlace(tenantId), this.#tools);
    return { ...put, seal: () => put.value };
  }

  /** Without waiting, where they are in memory. */
  peek(tenantId: string): TenantKeys | undefined {
    return this.#tenants.get(tenantId);
  }

  /** @throws CvmpError STORE_CORRUPT. The tenant must be registered. */
  async of(tenantId: string, source: Pick<Store, 'get'>): Promise<TenantKeys> {
    const known = this.#tenants.get(tenantId);
    if (known !== undefined) return known;
    const kek = await readKek(source, this.#place, tenantPlace(tenantId), this.#tools);
    const keys = tenantKeys(this.#place, this.#tools, kek);
    this.#tenants.set(tenantId, keys);
    return keys;
  }
}

async function newKek(
  place: Place,
  key: string,
  tools: Tools,
): Promise<{ put: Put; kek: Uint8Array }> {
  const kek = tools.randomBytes(kekLength);
  const value = await tools.masterKey.wrap(kek, kekContext(place, key));
  return { put: { key, value, expected: 0, version: 1 }, kek };
}

async function readKek(
  source: Pick<Store, 'get'>,
  place: Place,
  key: string,
  { masterKey }: Tools,
): Promise<Uint8Array> {
  const wrapped = await source.get(key);
  if (wrapped === undefined) {
    throw new CvmpError('STORE_CORRUPT', `the record ${key} is missing`);
  }
  try {
    return await masterKey.unwrap(wrapped.value, kekContext(place, key));
  } catch (cause) {
    if (key !== serverPlace) {
      throw new CvmpError('STORE_CORRUPT', `the record ${key} does not open`, { cause });
    }
    const what = 'the master key is not the one of this store, or its first record is damaged';
    throw new CvmpError('CONFIG', what, { cause });
  }
}

function kekContext(place: Place, key: string): Uint8Array {
  return encode(['CVMP/1 KEK', place.id, key]);
}

function sealer(place: Place, { crypto, randomBytes }: Tools, kek: Uint8Array): RecordSealer {
  const key = hkdfExpand('sha256', kek, utf8('CVMP/1 records'), kekLength);
  return new RecordSealer(crypto, key, place.id, randomBytes);
}

function tenantKeys(place: Place, tools: Tools, kek: Uint8Array): TenantKeys {
  const records = sealer(place, tools, kek);
  const wrapKey = hkdfExpand('sha256', kek, utf8('CVMP/1 root keys'), kekLength);
  kek.fill(0);
  const aad = ({ tenantId, keyId, epoch }: RootKeyContext) =>
    encode(['CVMP/1 root key', tenantId, keyId, epoch]);
  return {
    records,
    wrapRootKey(rootKey, context) {
      const iv = tools.randomBytes(ivLength);
      const sealed = tools.crypto.aesGcmSeal(wrapKey, iv, rootKey, aad(context));
      const out = new Uint8Array(ivLength + sealed.length);
      out.set(iv);
      out.set(sealed, ivLength);
      return out;
    },
    unwrapRootKey(wrapped, context) {
      const [iv, sealed] = [wrapped.subarray(0, ivLength), wrapped.subarray(ivLength)];
      let rootKey: Uint8Array;
      try {
        rootKey = tools.crypto.aesGcmOpen(wrapKey, iv, sealed, aad(context));
      } catch (cause) {
        throw new CvmpError('STORE_CORRUPT', 'a root key does not unwrap', { cause });
      }
      const handle = tools.crypto.hmacKey(rootKey);
      rootKey.fill(0);
      return handle;
    },
  };
}
