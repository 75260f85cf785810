import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HmacKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { initKeyring, openKeyring } from '#server/key-server/store/keyring.js';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { RecordSealer } from '#server/key-server/store/seal.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';

const { randomBytes } = crypto;
const id = new Uint8Array(16).fill(1);
const record = new TextEncoder().encode('a record of the Key Server');

function sealerOf(key = new Uint8Array(32).fill(2), storeId = id): RecordSealer {
  return new RecordSealer(crypto, key, storeId, randomBytes);
}

describe('a sealed record (architecture.md s.5)', () => {
  it('opens where and as it was sealed', () => {
    const value = sealerOf().seal('key/acme/1', 3, record);
    expect(sealerOf().open('key/acme/1', { value, version: 3 })).toEqual(record);
  });

  it('never looks the same twice', () => {
    expect(sealerOf().seal('k', 1, record)).not.toEqual(sealerOf().seal('k', 1, record));
  });

  it.each([
    ['under another database key (copied, swapped)', 'key/acme/2', 3, id, 2],
    ['with a later version (rolled forward)', 'key/acme/1', 4, id, 2],
    ['with an earlier version', 'key/acme/1', 2, id, 2],
    ['in another store', 'key/acme/1', 3, new Uint8Array(16), 2],
    ['under the key of another tenant', 'key/acme/1', 3, id, 5],
  ])('does not open %s', async (_, key, version, storeId, kek) => {
    const value = sealerOf().seal('key/acme/1', 3, record);
    const other = sealerOf(new Uint8Array(32).fill(kek), storeId);
    expect(await refusalOf(() => other.open(key, { value, version }))).toBe('STORE_CORRUPT');
  });

  it('does not open with any bit flipped, nor cut off anywhere', async () => {
    const value = sealerOf().seal('k', 1, record);
    for (let bit = 0; bit < 8 * value.length; bit++) {
      const flipped = value.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const open = () => sealerOf().open('k', { value: flipped, version: 1 });
      expect(await refusalOf(open)).toBe('STORE_CORRUPT');
    }
    for (let length = 0; length < value.length; length++) {
      const open = () => sealerOf().open('k', { value: value.subarray(0, length), version: 1 });
      expect(await refusalOf(open)).toBe('STORE_CORRUPT');
    }
  });
});

describe('the keyring: the master key wraps KEKs, KEKs wrap the rest', () => {
  async function newKeyring() {
    const path = join(temporaryFolder('keyring'), 'master.key');
    createMasterKeyFile(path, randomBytes);
    const tools = { crypto, randomBytes, masterKey: readMasterKeyFile(path) };
    const store = new MemoryStore();
    const { put } = await initKeyring(store, tools);
    const keyring = await withRecords(store, [put], tools);
    const puts = await Promise.all(['acme', 'bolt'].map((tenant) => keyring.newTenant(tenant)));
    await store.commit({ puts: puts.map((late) => ({ ...late, value: late.seal() })) });
    return { store, tools, keyring };
  }

  async function withRecords(
    store: MemoryStore,
    puts: Parameters<MemoryStore['commit']>[0]['puts'] & object,
    tools: Parameters<typeof openKeyring>[1],
  ) {
    await store.commit({ puts });
    return openKeyring(store, tools);
  }

  const context = { tenantId: 'acme', keyId: new Uint8Array(16), epoch: 1 };
  const rootKey = new Uint8Array(32).fill(8);

  it('opened again, it opens what it sealed and unwraps what it wrapped', async () => {
    const { store, tools, keyring } = await newKeyring();
    const acme = await keyring.of('acme', store);
    const value = acme.records.seal('k', 1, record);
    const wrapped = acme.wrapRootKey(rootKey, context);
    const again = await (await openKeyring(store, tools)).of('acme', store);
    expect(again.records.open('k', { value, version: 1 })).toEqual(record);
    const mac = (key: Uint8Array | HmacKey) => crypto.hmac('sha256', key, record);
    expect(mac(again.unwrapRootKey(wrapped, context))).toEqual(mac(rootKey));
  });

  it('each tenant has its own', async () => {
    const { store, keyring } = await newKeyring();
    const [acme, bolt] = [await keyring.of('acme', store), await keyring.of('bolt', store)];
    const value = acme.records.seal('k', 1, record);
    const open = () => bolt.records.open('k', { value, version: 1 });
    expect(await refusalOf(open)).toBe('STORE_CORRUPT');
    const wrapped = acme.wrapRootKey(rootKey, context);
    expect(await refusalOf(() => bolt.unwrapRootKey(wrapped, context))).toBe('STORE_CORRUPT');
  });

  it.each([
    ['another tenant', { ...context, tenantId: 'bolt' }],
    ['another KeyID', { ...context, keyId: new Uint8Array(16).fill(1) }],
    ['another epoch', { ...context, epoch: 2 }],
  ])('a root key is bound to its record: %s', async (_, other) => {
    const { store, keyring } = await newKeyring();
    const acme = await keyring.of('acme', store);
    const wrapped = acme.wrapRootKey(rootKey, context);
    expect(await refusalOf(() => acme.unwrapRootKey(wrapped, other))).toBe('STORE_CORRUPT');
  });

  it('another master key is told from damage', async () => {
    const { store, tools } = await newKeyring();
    const path = join(temporaryFolder('keyring'), 'other.key');
    createMasterKeyFile(path, randomBytes);
    const other = { ...tools, masterKey: readMasterKeyFile(path) };
    expect(await refusalOf(openKeyring(store, other))).toBe('CONFIG');
    const swapped = store.records.get('kek/tenant/bolt')!;
    store.records.set('kek/tenant/acme', swapped);
    const keyring = await openKeyring(store, tools);
    expect(await refusalOf(keyring.of('acme', store))).toBe('STORE_CORRUPT');
    store.records.delete('kek/server');
    expect(await refusalOf(openKeyring(store, tools))).toBe('STORE_CORRUPT');
  });
});

describe('the master key file', () => {
  const path = () => join(temporaryFolder('master'), 'master.key');

  it('is made with 32 random bytes for its owner alone, and never overwritten', async () => {
    const file = path();
    createMasterKeyFile(file, randomBytes);
    const { mode, size } = statSync(file);
    expect(mode & 0o777).toBe(0o600);
    expect(size).toBe(32);
    const again = () => createMasterKeyFile(file, randomBytes);
    expect(await refusalOf(again)).toBe('ALREADY_EXISTS');
  });

  it('is refused where others may read it', async () => {
    const file = path();
    createMasterKeyFile(file, randomBytes);
    for (const mode of [0o640, 0o604, 0o620, 0o660]) {
      chmodSync(file, mode);
      expect(await refusalOf(() => readMasterKeyFile(file))).toBe('CONFIG');
    }
  });

  it.each([0, 31, 33])('is refused with %i bytes', async (length) => {
    const file = path();
    writeFileSync(file, new Uint8Array(length), { mode: 0o600 });
    expect(await refusalOf(() => readMasterKeyFile(file))).toBe('CONFIG');
  });

  it('is not made by reading', async () => {
    const file = path();
    expect(await refusalOf(() => readMasterKeyFile(file))).toBe('CONFIG');
    expect(existsSync(file)).toBe(false);
  });
});
