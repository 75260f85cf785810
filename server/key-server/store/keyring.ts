import { toHex, utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import type { Crypto } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { hkdfExpand } from '#core/hkdf.js';
import type { MasterKey } from './master-key.js';
import { NameSealer } from './names.js';
import { onlyKey, RecordSealer } from './seal.js';
import { eraseRefOf, TenantKeys } from './tenant-keys.js';
import { type EraseKey, ErasePool } from './vault/erase-pool.js';
import type { Vault, VaultContent, WrappedKek } from './vault/vault.js';

const kekLength = 32;
/** Shorter than every sealed name of a tenant. */
const serverName = 'server';
const tenantsMax = 10_000;

interface Tools {
  readonly crypto: Crypto;
  readonly randomBytes: Crypto['randomBytes'];
  readonly masterKey: MasterKey;
}

/** The first KEK of a vault: the server's own. */
export async function firstKek(id: Uint8Array, tools: Tools): Promise<WrappedKek> {
  const kek = tools.randomBytes(kekLength);
  return wrapKek(id, serverName, 1, kek, tools.masterKey);
}

/** @throws CvmpError MASTER_KEY: it is of another store; STORE_CORRUPT */
export async function openKeyring(vault: Vault, tools: Tools): Promise<Keyring> {
  const first = vault.content.keks.find(({ name }) => name === serverName);
  if (first === undefined) throw new CvmpError('STORE_CORRUPT', 'the vault has lost its first KEK');
  let kek: Uint8Array;
  try {
    kek = await tools.masterKey.unwrap(first.wrapped, kekContext(vault.id, serverName, 1));
  } catch (cause) {
    if (cause instanceof CvmpError && cause.code !== 'DECRYPT_FAILED') throw cause;
    const what = 'the master key is not the one of this store';
    throw new CvmpError('MASTER_KEY', what, { cause });
  }
  return new Keyring(vault, tools, kek);
}

/**
 * Keys that records are sealed under: one KEK for the server's own records and one for each tenant,
 * all in the vault, wrapped by the master key. Destroying a tenant's makes all of its records
 * unreadable, and destroying the erase key of a root key makes that one unreadable, in every copy of
 * the store. KEKs in use stay in memory, root keys in use outside of the JavaScript heap.
 */
export class Keyring {
  /** For the server's own records. */
  readonly server: RecordSealer;
  readonly names: NameSealer;
  readonly #vault: Vault;
  readonly #tools: Tools;
  readonly #serverKey: Uint8Array;
  readonly #erase: ErasePool;
  readonly #tenants = new Map<string, TenantKeys>();
  readonly #opening = new Map<string, Promise<TenantKeys>>();
  /** By their descriptions: the one in force, and while it is replaced the next one. */
  readonly #masters = new Map<string, MasterKey>();

  /** Overwrites the KEK. */
  constructor(vault: Vault, tools: Tools, serverKek: Uint8Array) {
    const derive = (label: string) => hkdfExpand('sha256', serverKek, utf8(label), kekLength);
    this.#vault = vault;
    this.#tools = tools;
    this.#masters.set(toHex(vault.content.master), tools.masterKey);
    this.#serverKey = derive('CVMP/1 records');
    this.server = new RecordSealer(
      tools.crypto,
      onlyKey(this.#serverKey),
      vault.id,
      tools.randomBytes,
    );
    this.names = new NameSealer(tools.crypto, serverKek);
    this.#erase = new ErasePool(vault, tools, derive('CVMP/1 erase keys'));
    serverKek.fill(0);
  }

  /**
   * Makes the KEK of a new tenant, durable when it resolves: before the tenant is. One that a crash
   * left behind is taken.
   * @throws CvmpError STORE_WRITE, ALREADY_EXISTS: a tenant of this id was erased
   */
  async newTenant(tenantId: string): Promise<void> {
    const name = this.names.seal(tenantId);
    const [known] = this.#keksOf(name);
    if (known === undefined) {
      const kek = this.#tools.randomBytes(kekLength);
      await this.#vault.update(async (content) => {
        // Another call may have been faster.
        if (content.keks.some((other) => other.name === name)) return content;
        const made = await wrapKek(this.#vault.id, name, 1, kek, this.#master(content));
        return { ...content, keks: [...content.keks, made] };
      });
    } else if (known.wrapped.length === 0) {
      throw new CvmpError('ALREADY_EXISTS', `tenant ${tenantId} was here and is erased`);
    }
  }

  /** Without waiting, where they are in memory. */
  peek(tenantId: string): TenantKeys | undefined {
    return this.#tenants.get(tenantId);
  }

  /** The tenant must be registered. @throws CvmpError STORE_CORRUPT, KEY_DESTROYED */
  async of(tenantId: string): Promise<TenantKeys> {
    const known = this.#tenants.get(tenantId);
    if (known !== undefined) return known;
    const opening = this.#opening.get(tenantId) ?? this.#open(tenantId);
    this.#opening.set(tenantId, opening);
    try {
      return await opening;
    } finally {
      this.#opening.delete(tenantId);
    }
  }

  /** Resolves when 64 keys can be made without waiting for the disk. @throws CvmpError STORE_WRITE */
  readyErase(): Promise<void> {
    return this.#erase.ready();
  }

  /**
   * An erase key for a new root key, durable before it is given. What it was taken for and did not
   * become durable leaves an unused one behind, which is worth nothing.
   * @throws CvmpError STORE_WRITE
   */
  newErase(): EraseKey {
    return this.#erase.take();
  }

  /**
   * Destroys what these wrapped root keys hang on; durable when it resolves, and repeatable. From
   * then on nobody unwraps them, whatever copy of the store they come from. Key release goes by
   * eraseMarks and finishErasing, which survive a crash.
   * @throws CvmpError STORE_WRITE, STORE_CORRUPT
   */
  async destroyErase(wrapped: readonly Uint8Array[]): Promise<void> {
    await this.destroyRefs(wrapped.map(eraseRefOf));
  }

  /** {@link destroyErase} by the references of the erase keys. */
  async destroyRefs(refs: readonly number[]): Promise<void> {
    await this.#vault.destroy(refs);
  }

  /** When the vault was last copied, in milliseconds; a copy holds what was destroyed later. */
  get backupHorizon(): number | undefined {
    const { backedUp } = this.#vault.content;
    return backedUp === 0 ? undefined : backedUp;
  }

  /** Crypto-erase of a whole tenant: its KEK is destroyed; durable when it resolves. */
  async destroyTenant(tenantId: string): Promise<void> {
    const name = this.names.seal(tenantId);
    const tombstone: WrappedKek = { name, version: 1, wrapped: new Uint8Array() };
    await this.#vault.update((content) => ({
      ...content,
      keks: [...content.keks.filter((kek) => kek.name !== name), tombstone],
    }));
    this.#tenants.get(tenantId)?.close();
    this.#tenants.delete(tenantId);
  }

  /**
   * Replaces the master key: every KEK is wrapped by the next one, and all of them change in one
   * step, so that after a crash either the old one or the next one opens everything.
   * @param next kept, and the old one closed
   * @param progress told how many of how many are wrapped
   * @throws CvmpError STORE_WRITE, STORE_CORRUPT; then the old one is in force, unless it is told
   *   that the vault could not write
   */
  async rekeyMaster(
    next: MasterKey,
    progress: (done: number, total: number) => void,
  ): Promise<void> {
    const previous = toHex(this.#vault.content.master);
    this.#masters.set(toHex(next.description), next);
    await this.#vault.update(async (content) => {
      const master = this.#master(content);
      const keks: WrappedKek[] = [];
      for (const kek of content.keks) {
        keks.push(await this.#rewrapped(kek, master, next));
        progress(keks.length, content.keks.length);
      }
      return { ...content, master: next.description, keks };
    });
    await Promise.allSettled(this.#opening.values());
    this.#masters.get(previous)?.close();
    this.#masters.delete(previous);
  }

  /** Tenants whose KEK is being replaced. */
  get unfinished(): readonly string[] {
    const names = this.#vault.content.keks
      .filter(({ version }, i, all) => version > 1 && all[i - 1]?.name === all[i]?.name)
      .map(({ name }) => this.names.open(name));
    return [...new Set(names)];
  }

  /**
   * Gives a tenant a new KEK, durable when it resolves; new records are sealed under it. Where it
   * has a new one already, that one goes on.
   * @throws CvmpError as {@link of}, STORE_WRITE
   */
  async beginRewrap(tenantId: string): Promise<TenantKeys> {
    const keys = await this.of(tenantId);
    const name = this.names.seal(tenantId);
    if (this.#keksOf(name).length > 1) return keys;
    const version = keys.newest + 1;
    const kek = this.#tools.randomBytes(kekLength);
    const kept = kek.slice();
    await this.#vault.update(async (content) => {
      const made = await wrapKek(this.#vault.id, name, version, kek, this.#master(content));
      return { ...content, keks: [...content.keks, made] };
    });
    keys.add(version, kept);
    return keys;
  }

  /** Destroys the older KEKs of a tenant; durable when it resolves. @throws CvmpError STORE_WRITE */
  async finishRewrap(tenantId: string): Promise<void> {
    const keys = await this.of(tenantId);
    const name = this.names.seal(tenantId);
    const older = ({ name: of, version }: WrappedKek) => of === name && version < keys.newest;
    const versions = this.#vault.content.keks.filter(older).map(({ version }) => version);
    await this.#vault.update((content) => ({
      ...content,
      keks: content.keks.filter((kek) => !older(kek)),
    }));
    for (const version of versions) keys.drop(version);
  }

  /**
   * Copies the vault into an empty folder, and remembers when.
   * @throws CvmpError ALREADY_EXISTS, STORE_WRITE
   */
  async copyVault(folder: string, now: number): Promise<void> {
    await this.#vault.update((content) => ({ ...content, backedUp: now }));
    await this.#vault.copyTo(folder);
  }

  /** Forgets every key, and closes the vault. */
  async close(): Promise<void> {
    for (const keys of this.#tenants.values()) keys.close();
    this.#tenants.clear();
    this.#serverKey.fill(0);
    await this.#erase.close();
    for (const masterKey of this.#masters.values()) masterKey.close();
    await this.#vault.close();
  }

  async #rewrapped(kek: WrappedKek, from: MasterKey, to: MasterKey): Promise<WrappedKek> {
    const { name, version, wrapped } = kek;
    if (wrapped.length === 0) return kek;
    const context = kekContext(this.#vault.id, name, version);
    const plain = await from.unwrap(wrapped, context).catch((cause) => {
      throw new CvmpError('STORE_CORRUPT', 'a KEK of the vault does not open', { cause });
    });
    return wrapKek(this.#vault.id, name, version, plain, to);
  }

  async #open(tenantId: string): Promise<TenantKeys> {
    const masterKey = this.#master(this.#vault.content);
    const keks = this.#keksOf(this.names.seal(tenantId));
    if (keks.length === 0) {
      throw new CvmpError('STORE_CORRUPT', `the KEK of tenant ${tenantId} is missing`);
    }
    const keys = new TenantKeys({ ...this.#tools, storeId: this.#vault.id, erase: this.#erase });
    for (const { name, version, wrapped } of keks) {
      if (wrapped.length === 0) {
        throw new CvmpError('KEY_DESTROYED', `the keys of tenant ${tenantId} are erased`);
      }
      try {
        keys.add(
          version,
          await masterKey.unwrap(wrapped, kekContext(this.#vault.id, name, version)),
        );
      } catch (cause) {
        const what = `the KEK of tenant ${tenantId} does not open`;
        throw new CvmpError('STORE_CORRUPT', what, { cause });
      }
    }
    const oldest = this.#tenants.keys().next();
    if (this.#tenants.size >= tenantsMax && !oldest.done) this.#tenants.delete(oldest.value);
    this.#tenants.set(tenantId, keys);
    return keys;
  }

  /** @throws TypeError where it is not here, which was checked when the keyring was opened */
  #master({ master }: VaultContent): MasterKey {
    const found = this.#masters.get(toHex(master));
    if (found === undefined) throw new TypeError('the master key of the vault is not here');
    return found;
  }

  #keksOf(name: string): readonly WrappedKek[] {
    return this.#vault.content.keks.filter((kek) => kek.name === name);
  }
}

/** Overwrites the KEK. */
async function wrapKek(
  storeId: Uint8Array,
  name: string,
  version: number,
  kek: Uint8Array,
  masterKey: MasterKey,
): Promise<WrappedKek> {
  const wrapped = await masterKey.wrap(kek, kekContext(storeId, name, version));
  kek.fill(0);
  return { name, version, wrapped };
}

function kekContext(storeId: Uint8Array, name: string, version: number): Uint8Array {
  return encode(['CVMP/1 KEK', storeId, name, version]);
}
