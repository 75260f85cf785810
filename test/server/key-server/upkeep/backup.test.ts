import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { anchorStore } from '#server/key-server/upkeep/anchor.js';
import { restoreBackup } from '#server/key-server/upkeep/restore.js';
import {
  grantIn,
  lost,
  operations,
  problemsOf,
  seen,
  type World,
} from '../../../faults/operations.js';
import { copyOf, makeWorld } from '../../../faults/world.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';
import { newKey, newPlace, openPlace, optionsOf, type Place, requestId } from '../state.js';

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});

async function using<T>(place: Place, body: (state: KeyServerState) => Promise<T>): Promise<T> {
  const state = await openPlace(place);
  try {
    return await body(state);
  } finally {
    await state.close();
  }
}

async function backUp(state: KeyServerState): Promise<string> {
  const folder = join(temporaryFolder('backup'), 'b');
  let isDone = false;
  for await (const progress of state.backup(folder)) isDone = progress.isDone;
  expect(isDone).toBe(true);
  return folder;
}

/** Another place with the vault of this one and no store. */
function emptyPlace(of: Place): Place {
  const folder = join(temporaryFolder('restored'), 'store');
  cpSync(`${of.folder}.vault`, `${folder}.vault`, { recursive: true });
  return { ...of, folder };
}

async function restored(backup: string, of: Place): Promise<Place> {
  const place = emptyPlace(of);
  await restoreBackup(backup, place.folder, optionsOf(place));
  return place;
}

const checkpointOf = async (state: KeyServerState) => (await state.log.newest()).signed;

describe('a backup (decision 2: the vault is not in it)', () => {
  it('holds all of the store, readable by nobody without the vault', async () => {
    const source = copyOf(world);
    const [backup, before] = await using(source, async (state) => [
      await backUp(state),
      await seen(state),
    ]);
    const place = await restored(backup, source);
    expect(await problemsOf(place)).toEqual([]);
    await using(place, async (state) => expect(await seen(state)).toEqual(before));
    const bare = { ...place, folder: join(temporaryFolder('bare'), 'store') };
    const restoring = restoreBackup(backup, bare.folder, optionsOf(bare));
    expect(await refusalOf(restoring)).toBe('STORE_MISSING');
    expect(existsSync(bare.folder)).toBe(false);
  });

  it('is of one moment, whatever is written meanwhile', async () => {
    const source = copyOf(world);
    const backup = await using(source, async (state) => {
      const grant = await grantIn(state);
      const before = await seen(state);
      const folder = join(temporaryFolder('backup'), 'b');
      const running = state.backup(folder)[Symbol.asyncIterator]();
      const first = running.next();
      const writes = Array.from({ length: 50 }, () =>
        state.keys.allocate(grant, requestId(), newKey),
      );
      await first;
      while (!(await running.next()).done);
      await Promise.all(writes);
      expect(await seen(state)).not.toEqual(before);
      return folder;
    });
    expect(await problemsOf(await restored(backup, source))).toEqual([]);
  });

  it('goes into no folder that holds something', async () => {
    const source = copyOf(world);
    await using(source, async (state) => {
      const backup = await backUp(state);
      const again = state.backup(backup)[Symbol.asyncIterator]().next();
      expect(await refusalOf(again)).toBe('ALREADY_EXISTS');
    });
  });

  it.each<[string, (backup: string) => void, string]>([
    ['one bit of a file', (b) => change(b, /^records/, flippedAt(99)), 'STORE_CORRUPT'],
    [
      'a file cut off',
      (b) => change(b, /^records/, (bytes) => bytes.subarray(0, 500)),
      'STORE_CORRUPT',
    ],
    ['a file lost', (b) => rmSync(join(b, 'records-000001')), 'STORE_MISSING'],
    ['the manifest lost', (b) => rmSync(join(b, 'manifest.cose')), 'STORE_MISSING'],
    ['the manifest’s signature', (b) => change(b, /^manifest/, flippedAt(-1)), 'SIGNATURE_INVALID'],
  ])('is refused as a whole with %s', async (_, harm, code) => {
    const source = copyOf(world);
    const backup = await using(source, backUp);
    harm(backup);
    const place = emptyPlace(source);
    expect(await refusalOf(restoreBackup(backup, place.folder, optionsOf(place)))).toBe(code);
    expect(existsSync(place.folder)).toBe(false);
  });

  it('is not restored over a store, nor with the vault of another', async () => {
    const source = copyOf(world);
    const backup = await using(source, backUp);
    const over = restoreBackup(backup, source.folder, optionsOf(source));
    expect(await refusalOf(over)).toBe('ALREADY_EXISTS');
    const other = await newPlace('other');
    const place = emptyPlace(other);
    const foreign = restoreBackup(backup, place.folder, optionsOf(other));
    expect(await refusalOf(foreign)).toBe('CONFIG');
  });
});

describe('a restored store (protocol.md s.6.4)', () => {
  it('shows what there is and decides nothing', async () => {
    const source = copyOf(world);
    const place = await restored(await using(source, backUp), source);
    await using(place, async (state) => {
      expect(state.failure()?.code).toBe('RESTORED_READ_ONLY');
      for (const { run } of operations) {
        expect(await refusalOf(run(state, world, requestId()))).toBe('RESTORED_READ_ONLY');
      }
      expect((await state.log.newest()).size).toBeGreaterThan(10);
    });
  });

  it('serves once it is anchored at the newest checkpoint, and its log says so', async () => {
    const source = copyOf(world);
    const [backup, checkpoint] = await using(source, async (state) => [
      await backUp(state),
      await checkpointOf(state),
    ]);
    const place = await restored(backup, source);
    const anchored = await anchorStore(place.folder, optionsOf(place), [checkpoint], 0);
    expect(anchored.lost).toBe(0);
    await using(place, async (state) => {
      expect(state.failure()).toBeUndefined();
      expect(await lost(world, state)).toEqual([]);
      expect((await state.log.newest()).size).toBeGreaterThan(anchored.logSize);
    });
    expect(await problemsOf(place)).toEqual([]);
  });

  it('is not anchored below a checkpoint, unless the loss is named', async () => {
    const source = copyOf(world);
    const [backup, later] = await using(source, async (state) => {
      const folder = await backUp(state);
      await state.keys.allocate(await grantIn(state), requestId(), newKey);
      return [folder, await checkpointOf(state)];
    });
    const place = await restored(backup, source);
    const anchor = (loss: number) => anchorStore(place.folder, optionsOf(place), [later], loss);
    expect(await refusalOf(anchor(0))).toBe('STORE_BEHIND');
    expect(await refusalOf(anchor(2))).toBe('STORE_BEHIND');
    expect((await anchor(1)).lost).toBe(1);
  });

  it('is not anchored at a checkpoint of a copy that went on apart, nor of another server', async () => {
    const source = copyOf(world);
    const backup = await using(source, backUp);
    const apart = async () => {
      const place = copyOf(world);
      return using(place, async (state) => {
        await state.keys.allocate(await grantIn(state), requestId(), newKey);
        return checkpointOf(state);
      });
    };
    const [one, other] = [await apart(), await apart()];
    const place = await restored(backup, source);
    await anchorStore(place.folder, optionsOf(place), [one], 1);
    const again = anchorStore(place.folder, optionsOf(place), [other], 0);
    expect(await refusalOf(again)).toBe('SERVER_ROLLBACK');
    const foreign = await using(await newPlace('foreign'), checkpointOf);
    const wrong = anchorStore(place.folder, optionsOf(place), [foreign], 0);
    expect(await refusalOf(wrong)).toBe('SERVER_UNTRUSTED');
  });

  it('does not bring a destroyed key back: its erase key is gone from the vault', async () => {
    const source = copyOf(world);
    const destroy = operations.find(({ name }) => name.startsWith('destroy'))!;
    const [backup, checkpoint] = await using(source, async (state) => {
      const folder = await backUp(state);
      await destroy.run(state, world, requestId());
      return [folder, await checkpointOf(state)];
    });
    const place = await restored(backup, source);
    const found = await problemsOf(place);
    expect(found.join()).toMatch(/KEY_DESTROYED/);
    const loss = refusalOf(anchorStore(place.folder, optionsOf(place), [checkpoint], 0));
    expect(await loss).toBe('STORE_BEHIND');
    await anchorStore(place.folder, optionsOf(place), [checkpoint], 2);
    await using(place, async (state) => {
      const ask = { keyId: world.doomed.keyId, svn: 1, reason: 'boot' } as const;
      const acquired = state.keys.acquire(await grantIn(state), requestId(), ask);
      expect(await refusalOf(acquired)).toBe('KEY_DESTROYED');
    });
  });
});

/** From the end where it is negative. */
const flippedAt = (at: number) => (bytes: Buffer) => {
  const i = at < 0 ? bytes.length + at : at;
  return Buffer.concat([bytes.subarray(0, i), Buffer.of(bytes[i]! ^ 4), bytes.subarray(i + 1)]);
};

function change(backup: string, name: RegExp, body: (bytes: Buffer) => Buffer): void {
  const path = join(backup, readdirSync(backup).find((each) => name.test(each))!);
  const bytes = readFileSync(path);
  writeFileSync(path, body(bytes));
}
