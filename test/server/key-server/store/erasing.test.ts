import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeKeyRecord } from '#core/keying/key-record.js';
import { crypto } from '#crypto';
import type { StoredPolicy } from '#server/key-server/release/contract.js';
import { keyPlace } from '#server/key-server/release/key-directory.js';
import { openKeyring } from '#server/key-server/store/keyring.js';
import { openLevelStore } from '#server/key-server/store/level.js';
import { eraseMarks } from '#server/key-server/store/vault/erasing.js';
import { openVault } from '#server/key-server/store/vault/file-vault.js';
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

/** A store with one policy and two keys, closed. */
async function withKeys() {
  const place = await newPlace('erasing', canary);
  const state = await openPlace(place);
  const policy = await withTenant(state);
  const keyIds = await Promise.all(
    [1, 2].map(async () => {
      const key = await state.keys.allocate(grantOf(policy, 2), requestId(), newKey);
      canary(key.securityKey);
      return key.keyId;
    }),
  );
  await state.close();
  return { place, policy, keyIds: keyIds as [Uint8Array, Uint8Array] };
}

/** Makes the marks of a destruction durable, and does no more: a crash right after the tombstone. */
async function mark(place: Place, keyId: Uint8Array): Promise<void> {
  const store = await openLevelStore(place.folder);
  const vault = await openVault(`${place.folder}.vault`);
  const keyring = await openKeyring(vault, { crypto, ...optionsOf(place) });
  const key = keyPlace('acme', keyId);
  const { records } = await keyring.of('acme');
  const { roots } = decodeKeyRecord(records.open(key, (await store.get(key))!));
  const marks = eraseMarks(roots.map(({ wrapped }) => wrapped));
  await store.commit({ puts: marks.map((late) => ({ ...late, value: late.seal() })) });
  await keyring.close();
  await store.close();
}

/** What KeyAcquire says for each key. */
async function acquired(place: Place, policy: StoredPolicy, keyIds: readonly Uint8Array[]) {
  const state = await openPlace(place);
  const ask = (keyId: Uint8Array) =>
    state.keys.acquire(grantOf(policy, 2), requestId(), {
      keyId,
      svn: 1,
      epoch: undefined,
      reason: 'boot',
    });
  const codes: string[] = [];
  for (const keyId of keyIds) codes.push(await refusalOf(ask(keyId)));
  await state.close();
  return codes;
}

function copyOf(place: Place, ends: readonly string[]): Place {
  const copy = { ...place, folder: join(temporaryFolder('copy'), 'store') };
  for (const end of ends) cpSync(place.folder + end, copy.folder + end, { recursive: true });
  return copy;
}

/** Puts parts of a copy back. */
function restore(place: Place, copy: Place, ends: readonly string[]): void {
  for (const end of ends) {
    rmSync(place.folder + end, { recursive: true });
    cpSync(copy.folder + end, place.folder + end, { recursive: true });
  }
}

describe('destroyed keys stay destroyed (issue 4: a restored backup cannot bring the key back)', () => {
  it('after a crash behind the tombstone the erase key is destroyed at the next start', async () => {
    const { place, policy, keyIds } = await withKeys();
    await mark(place, keyIds[0]);
    expect(await acquired(place, policy, keyIds)).toEqual(['KEY_DESTROYED', 'accepted']);
    // The marks are done with.
    const store = await openLevelStore(place.folder);
    expect(await store.list({ prefix: 'erasing/', limit: 10 })).toEqual([]);
    await store.close();
  });

  it('the store from before, put back with its master key, has a record that nobody can use', async () => {
    const { place, policy, keyIds } = await withKeys();
    const backup = copyOf(place, ['', '.head', '.vault']);
    await mark(place, keyIds[0]);
    expect(await acquired(place, policy, keyIds)).toEqual(['KEY_DESTROYED', 'accepted']);
    restore(place, backup, ['', '.head']);
    expect(await acquired(place, policy, keyIds)).toEqual(['KEY_DESTROYED', 'accepted']);
    // Only a copy of the vault from before could: therefore there is one, and it is replaced.
    restore(place, backup, ['', '.head', '.vault']);
    expect(await acquired(place, policy, keyIds)).toEqual(['accepted', 'accepted']);
  });

  it('of an erased tenant nothing opens, whatever copy of the store it comes from', async () => {
    const { place, policy, keyIds } = await withKeys();
    const backup = copyOf(place, ['', '.head']);
    const vault = await openVault(`${place.folder}.vault`);
    const keyring = await openKeyring(vault, { crypto, ...optionsOf(place) });
    await keyring.destroyTenant('acme');
    await keyring.close();
    for (const _ of ['as it is', 'restored']) {
      const erased = ['KEY_DESTROYED', 'KEY_DESTROYED'];
      expect(await acquired(place, policy, keyIds)).toEqual(erased);
      restore(place, backup, ['', '.head']);
    }
  });

  it('a vault of another store is refused', async () => {
    const { place } = await withKeys();
    const other = await newPlace('other');
    restore(place, other, ['.vault']);
    const master = { ...place, masterKey: other.masterKey };
    expect(await refusalOf(openPlace(master))).toBe('CONFIG');
  });
});
