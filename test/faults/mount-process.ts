// Runs in a mount namespace of its own: a Key Server's store on a small tmpfs that fills up, and then
// becomes read-only. Arguments: an empty folder, the world as JSON. Prints what it met, as JSON.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { newKey, openPlace, type Place, requestId } from '../server/key-server/state.js';
import { worldFromJson } from './disk-tasks.js';
import {
  copyStore,
  digestOf,
  grantIn,
  lost,
  placeIn,
  problemsOf,
  type World,
} from './operations.js';

const [mountPoint = '', worldFile = ''] = process.argv.slice(2);
const world: World = worldFromJson(readFileSync(worldFile, 'utf8'));
const mount = (...args: string[]) => execFileSync('mount', [...args, mountPoint]);

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'done';
  } catch (error) {
    if (error instanceof CvmpError) return error.code;
    throw error;
  }
}

const opens = (place: Place) => codeOf(async () => (await openPlace(place)).close());

/** Allocates until the disk is full. */
async function fill(place: Place, keys: Map<string, string>): Promise<string> {
  const state = await openPlace(place);
  const grant = await grantIn(state);
  const end = await codeOf(async () => {
    for (;;) {
      const key = await state.keys.allocate(grant, requestId(), newKey);
      keys.set(`${toHex(key.keyId)} 1`, digestOf(key.securityKey));
    }
  });
  await state.close();
  return end;
}

mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs');
copyStore(world.place.folder, join(mountPoint, 'store'));
const place = placeIn(world, join(mountPoint, 'store'));
const released = new Map(world.released);
const full = await fill(place, released);
const whileFull = await opens(place);
mount('-o', 'remount,size=16m');
const state = await openPlace(place);
const missing = await lost({ ...world, released }, state);
await state.close();
mount('-o', 'remount,ro');
const whileReadOnly = await opens(place);
mount('-o', 'remount,rw');
const afterwards = await opens(place);
const problems = await problemsOf(place);
const allocated = released.size - world.released.size;
const report = { full, whileFull, missing, whileReadOnly, afterwards, problems, allocated };
writeSync(1, JSON.stringify(report));
