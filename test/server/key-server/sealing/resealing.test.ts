import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { crypto } from '#crypto';
import type { KeyServerState, StoredPolicy } from '#server/key-server/release/contract.js';
import { stateOver, vaultFolderOf } from '#server/key-server/release/open.js';
import { fileProvider } from '#server/key-server/sealing/file.js';
import { openLevelStore } from '#server/key-server/store/level.js';
import { readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { openVault, readMasterDescription } from '#server/key-server/store/vault/file-vault.js';
import { FaultyStore } from '../../../fakes/faulty-store.js';
import { killedAt } from '../../../fakes/killed-vault.js';
import { refusalOf } from '../../../refusal.js';
import { canary, temporaryFolder } from '../../../run-folder.js';
import {
  grantOf,
  newKey,
  newPlace,
  openPlace,
  optionsOf,
  type Place,
  requestId,
  withTenant,
} from '../state.js';

const nothing = () => undefined;

/** A store with two tenants and some keys, closed; and their Security Keys. */
async function makeWorld(keysOfEach = 3) {
  const place = await newPlace('resealing', canary);
  const state = await openPlace(place);
  const keys: { policy: StoredPolicy; keyId: Uint8Array; securityKey: Uint8Array }[] = [];
  for (const tenantId of ['acme', 'bolt']) {
    const policy = await withTenant(state, tenantId);
    for (let i = 0; i < keysOfEach; i++) {
      const made = await state.keys.allocate(grantOf(policy, 2), requestId(), newKey);
      canary(made.securityKey);
      keys.push({ policy, keyId: made.keyId, securityKey: made.securityKey.slice() });
    }
  }
  await state.close();
  return { place, keys };
}

type World = Awaited<ReturnType<typeof makeWorld>>;

function copyOf({ place }: World): Place {
  const copy = { ...place, folder: join(temporaryFolder('reseal'), 'store') };
  for (const end of ['', '.head', '.vault']) {
    cpSync(place.folder + end, copy.folder + end, { recursive: true });
  }
  return copy;
}

/** Every key is there, and is what it was. */
async function allThere(state: KeyServerState, { keys }: World): Promise<void> {
  for (const { policy, keyId, securityKey } of keys) {
    const ask = { keyId, svn: 1, epoch: undefined, reason: 'boot' } as const;
    const got = await state.keys.acquire(grantOf(policy, 2), requestId(), ask);
    expect(got.securityKey).toEqual(securityKey);
  }
}

/** Another master key in a file of its own. */
async function nextMaster() {
  const file = join(temporaryFolder('next'), 'next.key');
  const { masterKey } = await fileProvider(file).create();
  return { file, masterKey };
}

describe('rekey-master: another master key wraps the KEKs (issue 4: online, resumable)', () => {
  it('while requests are served; afterwards only the new one opens the store', async () => {
    const world = await makeWorld();
    const place = copyOf(world);
    const state = await openPlace(place);
    const { file, masterKey } = await nextMaster();
    const seen: string[] = [];
    const rekeyed = state.resealing.rekeyMaster(masterKey, (done, of) =>
      seen.push(`${done}/${of}`),
    );
    await Promise.all([allThere(state, world), withTenant(state, 'cargo'), rekeyed]);
    expect(seen.at(-1)).toMatch(/^(\d)\/\1$/);
    await allThere(state, world);
    await withTenant(state, 'delta');
    await state.close();
    expect(await refusalOf(openPlace(place))).toBe('MASTER_KEY');
    const opened = await openPlace({ ...place, masterKey: file });
    await allThere(opened, world);
    for (const tenantId of ['cargo', 'delta']) {
      expect(await refusalOf(opened.policies.get(tenantId, 'web', 0))).toBe('accepted');
    }
    await opened.close();
  });

  it('killed at every step: the old one opens everything, or the new one does', async () => {
    const world = await makeWorld(1);
    const inForce: string[] = [];
    for (let at = 1, outcome = ''; outcome !== 'accepted'; at++) {
      const place = copyOf(world);
      const { file, masterKey } = await nextMaster();
      const store = await openLevelStore(place.folder);
      const vault = await openVault(vaultFolderOf(place.folder), killedAt(at));
      const state = await stateOver(store, vault, optionsOf(place));
      outcome = await refusalOf(state.resealing.rekeyMaster(masterKey, nothing));
      await store.close();
      await vault.close();
      const isNew = await refusalOf(openThenClose({ ...place, masterKey: file }, world));
      const isOld = await refusalOf(openThenClose(place, world));
      expect([isOld, isNew].sort()).toEqual(['MASTER_KEY', 'accepted']);
      inForce.push(isNew === 'accepted' ? 'new' : 'old');
    }
    expect(inForce[0]).toBe('old');
    expect(inForce.at(-1)).toBe('new');
  });

  it('the description in the vault is that of the key in force', async () => {
    const world = await makeWorld(1);
    const place = copyOf(world);
    const before = readMasterDescription(vaultFolderOf(place.folder));
    const state = await openPlace(place);
    const { file, masterKey } = await nextMaster();
    await state.resealing.rekeyMaster(masterKey, nothing);
    await state.close();
    const after = readMasterDescription(vaultFolderOf(place.folder));
    expect(after).not.toEqual(before);
    expect(readMasterKeyFile(file, after).description).toEqual(after);
  });
});

async function openThenClose(place: Place, world: World): Promise<void> {
  const state = await openPlace(place);
  try {
    await allThere(state, world);
  } finally {
    await state.close();
  }
}

/** Versions of the KEKs in the vault, without the server's. */
async function versions(place: Place): Promise<readonly number[]> {
  const vault = await openVault(vaultFolderOf(place.folder));
  const found = vault.content.keks.filter(({ name }) => name !== 'server');
  await vault.close();
  return found.map(({ version }) => version).sort();
}

describe('rewrap: another KEK for a tenant (issue 4: online, resumable)', () => {
  it('while requests are served; the old KEK is destroyed, nothing of it is left', async () => {
    const world = await makeWorld(8);
    const place = copyOf(world);
    const old = readFileSync(join(vaultFolderOf(place.folder), 'keks'));
    const state = await openPlace(place);
    const acme = world.keys[0]!.policy;
    const made = async () => {
      const key = await state.keys.allocate(grantOf(acme, 2), requestId(), newKey);
      canary(key.securityKey);
      world.keys.push({ policy: acme, keyId: key.keyId, securityKey: key.securityKey.slice() });
    };
    let records = 0;
    const rewrap = state.resealing.rewrap('acme', (done) => {
      records = done;
    });
    await Promise.all([rewrap, made(), made(), allThere(state, world)]);
    expect(records).toBeGreaterThanOrEqual(8);
    await allThere(state, world);
    await state.close();
    expect(await versions(place)).toEqual([1, 2]);
    await openThenClose(place, world);
    // With the old KEK put back nothing of the tenant opens: all of it is under the new one.
    writeFileSync(join(vaultFolderOf(place.folder), 'keks'), old);
    expect(await refusalOf(openThenClose(place, world))).toBe('STORE_CORRUPT');
  });

  it('a tenant that is not there is refused', async () => {
    const world = await makeWorld(1);
    const state = await openPlace(copyOf(world));
    expect(await refusalOf(state.resealing.rewrap('nobody', nothing))).toBe('NOT_FOUND');
    await state.close();
  });

  it('a repeated request is still known, and what is forgotten later is forgotten', async () => {
    const { place } = await makeWorld(1);
    const state = await openPlace(place);
    const id = crypto.randomBytes(16);
    const policy = await state.policies.get('acme', 'web', 0);
    const first = await state.keys.allocate(grantOf(policy, 2), id, newKey);
    canary(first.securityKey);
    await state.resealing.rewrap('acme', nothing);
    const again = await state.keys.allocate(grantOf(policy, 2), id, newKey);
    expect(again.keyId).toEqual(first.keyId);
    await state.close();
  });

  it('killed at every commit and every step of the vault: at the next start it is finished', async () => {
    const world = await makeWorld(2);
    const kills = [
      ...Array.from({ length: 12 }, (_, i) => ({ commit: i + 1, step: 0 })),
      ...Array.from({ length: 14 }, (_, i) => ({ commit: 0, step: i + 1 })),
    ];
    for (const { commit, step } of kills) {
      const place = copyOf(world);
      const level = await openLevelStore(place.folder);
      const store = new FaultyStore(level, commit, 'dies before');
      const files = step === 0 ? undefined : killedAt(step);
      const vault = await openVault(vaultFolderOf(place.folder), files);
      const state = await stateOver(store, vault, optionsOf(place));
      const done = refusalOf(state.resealing.rewrap('acme', nothing));
      await Promise.race([done, store.died]);
      await level.close();
      await vault.close();
      const next = await openPlace(place);
      await allThere(next, world);
      await next.resealing.rewrap('acme', nothing);
      await allThere(next, world);
      await next.close();
      const found = await versions(place);
      expect(found).toHaveLength(2);
      expect(Math.max(...found)).toBeGreaterThan(1);
    }
  }, 120_000);
});

it('the vault is copied whole, and remembers when', async () => {
  const world = await makeWorld(1);
  const place = copyOf(world);
  const state = await openPlace(place);
  const folder = join(temporaryFolder('copy'), 'vault');
  await state.resealing.copyVault(folder);
  expect(await refusalOf(state.resealing.copyVault(folder))).toBe('ALREADY_EXISTS');
  await state.close();
  const options = { ...optionsOf(place), vaultFolder: folder };
  const store = await openLevelStore(place.folder);
  const vault = await openVault(folder);
  expect(vault.content.backedUp).toBe(place.now);
  const opened = await stateOver(store, vault, options);
  await allThere(opened, world);
  await opened.close();
});
