import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { HmacKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { firstKek, openKeyring } from '#server/key-server/store/keyring.js';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { createVault, openVault } from '#server/key-server/store/vault/file-vault.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';

const { randomBytes } = crypto;
const record = new TextEncoder().encode('a record of the Key Server');
const id = new Uint8Array(16).fill(1);
const mac = (key: Uint8Array | HmacKey) => crypto.hmac('sha256', key, record);

function newMasterKey() {
  const path = join(temporaryFolder('master'), 'master.key');
  createMasterKeyFile(path, randomBytes);
  return () => readMasterKeyFile(path);
}

/** A vault with the KEKs of acme and bolt. */
async function newVault() {
  const folder = join(temporaryFolder('keyring'), 'vault');
  const master = newMasterKey();
  const tools = { crypto, randomBytes, masterKey: master() };
  const keks = [await firstKek(id, tools)];
  await createVault(folder, id, { master: tools.masterKey.description, keks, backedUp: 0 });
  const open = async (masterKey = master()) => {
    const vault = await openVault(folder);
    // Also where no keyring comes of it; what was reserved and not used stays, as after a kill.
    onTestFinished(() => vault.close());
    return openKeyring(vault, { crypto, randomBytes, masterKey });
  };
  const keyring = await open();
  await keyring.newTenant('acme');
  await keyring.newTenant('bolt');
  return { folder, keyring, open, master };
}

const context = { tenantId: 'acme', keyId: new Uint8Array(16), epoch: 1 };
const rootKey = new Uint8Array(32).fill(8);

describe('the keyring: the master key wraps KEKs, KEKs wrap the rest', () => {
  it('opened again, it opens what it sealed and unwraps what it wrapped', async () => {
    const { keyring, open } = await newVault();
    const acme = await keyring.of('acme');
    const value = acme.records.seal('k', 1, record);
    const wrapped = acme.wrapRootKey(rootKey, context, keyring.newErase());
    const again = await (await open()).of('acme');
    expect(again.records.open('k', { value, version: 1 })).toEqual(record);
    expect(mac(again.unwrapRootKey(wrapped, context))).toEqual(mac(rootKey));
  });

  it('each tenant has its own', async () => {
    const { keyring } = await newVault();
    const [acme, bolt] = [await keyring.of('acme'), await keyring.of('bolt')];
    const value = acme.records.seal('k', 1, record);
    const open = () => bolt.records.open('k', { value, version: 1 });
    expect(await refusalOf(open)).toBe('STORE_CORRUPT');
    const wrapped = acme.wrapRootKey(rootKey, context, keyring.newErase());
    expect(await refusalOf(() => bolt.unwrapRootKey(wrapped, context))).toBe('STORE_CORRUPT');
  });

  it.each([
    ['another tenant', { ...context, tenantId: 'bolt' }],
    ['another KeyID', { ...context, keyId: new Uint8Array(16).fill(1) }],
    ['another epoch', { ...context, epoch: 2 }],
  ])('a root key is bound to its record: %s', async (_, other) => {
    const { keyring } = await newVault();
    const acme = await keyring.of('acme');
    const wrapped = acme.wrapRootKey(rootKey, context, keyring.newErase());
    expect(await refusalOf(() => acme.unwrapRootKey(wrapped, other))).toBe('STORE_CORRUPT');
  });

  it('a wrapped root key with any byte changed does not unwrap', async () => {
    const { keyring } = await newVault();
    const acme = await keyring.of('acme');
    const wrapped = acme.wrapRootKey(rootKey, context, keyring.newErase());
    keyring.newErase();
    for (let i = 0; i < wrapped.length; i++) {
      const changed = wrapped.slice();
      changed[i]! ^= 1;
      const refusal = await refusalOf(() => acme.unwrapRootKey(changed, context));
      // A reference to an erase key that never was reads as one that is gone.
      expect(['STORE_CORRUPT', 'KEY_DESTROYED']).toContain(refusal);
    }
    for (let length = 0; length < wrapped.length; length++) {
      const cut = () => acme.unwrapRootKey(wrapped.subarray(0, length), context);
      expect(await refusalOf(cut)).toBe('STORE_CORRUPT');
    }
  });

  it('another master key is told from damage', async () => {
    const { open } = await newVault();
    const other = newMasterKey();
    expect(await refusalOf(open(other()))).toBe('MASTER_KEY');
  });

  it('the KEK of a tenant is made once, also where a crash came before the tenant', async () => {
    const { keyring } = await newVault();
    const value = (await keyring.of('acme')).records.seal('k', 1, record);
    await keyring.newTenant('acme');
    const acme = await keyring.of('acme');
    expect(acme.records.open('k', { value, version: 1 })).toEqual(record);
    expect(await refusalOf(keyring.of('nobody'))).toBe('STORE_CORRUPT');
  });
});

describe('crypto-erase (SP 800-88, cryptographic erase)', () => {
  it('a root key whose erase key is destroyed cannot be had, now nor after a restart', async () => {
    const { keyring, open } = await newVault();
    const acme = await keyring.of('acme');
    const [gone, kept] = [1, 2].map((epoch) =>
      acme.wrapRootKey(rootKey, { ...context, epoch }, keyring.newErase()),
    ) as [Uint8Array, Uint8Array];
    await keyring.destroyErase([gone]);
    await keyring.destroyErase([gone]);
    for (const ring of [keyring, await open()]) {
      const keys = await ring.of('acme');
      expect(await refusalOf(() => keys.unwrapRootKey(gone, context))).toBe('KEY_DESTROYED');
      expect(mac(keys.unwrapRootKey(kept, { ...context, epoch: 2 }))).toEqual(mac(rootKey));
    }
  });

  it('a tenant whose KEK is destroyed has nothing left, and never comes back', async () => {
    const { keyring, open } = await newVault();
    const acme = await keyring.of('acme');
    const value = acme.records.seal('k', 1, record);
    await keyring.destroyTenant('acme');
    const opened = () => acme.records.open('k', { value, version: 1 });
    expect(await refusalOf(opened)).toBe('STORE_CORRUPT');
    for (const ring of [keyring, await open()]) {
      expect(await refusalOf(ring.of('acme'))).toBe('KEY_DESTROYED');
      expect(await refusalOf(ring.newTenant('acme'))).toBe('ALREADY_EXISTS');
      expect(await refusalOf(ring.of('bolt'))).toBe('accepted');
    }
  });

  it('erase keys are durable before they are given, and many are one write', async () => {
    const { keyring, open } = await newVault();
    const acme = await keyring.of('acme');
    const wrapped: Uint8Array[] = [];
    for (let epoch = 1; epoch <= 1000; epoch++) {
      wrapped.push(acme.wrapRootKey(rootKey, { ...context, epoch }, keyring.newErase()));
      if (epoch % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // Without closing the first: what a kill would leave.
    const again = await (await open()).of('acme');
    for (const [i, one] of wrapped.entries()) {
      expect(mac(again.unwrapRootKey(one, { ...context, epoch: i + 1 }))).toEqual(mac(rootKey));
    }
  });
});
