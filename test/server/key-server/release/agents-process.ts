// Opens the Key Server's state in the folder given as argument and lets many agents allocate,
// confirm, acquire and update without end. Prints one JSON line for every answer that it got.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { crypto } from '#crypto';
import { initState, openState } from '#server/key-server/release/open.js';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { grantOf, levels, newKey, requestId, withTenant } from '../state.js';

const folder = process.argv[2] ?? '';
const masterKeyFile = join(folder, 'master.key');
const store = join(folder, 'store');
const levelCount = 64;

async function open() {
  const isNew = !existsSync(masterKeyFile);
  if (isNew) createMasterKeyFile(masterKeyFile, crypto.randomBytes);
  const options = {
    masterKey: readMasterKeyFile(masterKeyFile),
    now: Date.now,
    randomBytes: crypto.randomBytes,
  };
  if (isNew) await initState(store, options);
  const state = await openState(store, options);
  if (isNew) await withTenant(state, 'acme', { levels: levels(levelCount) });
  return state;
}

const say = (answer: Record<string, unknown>) =>
  process.stdout.write(`${JSON.stringify(answer)}\n`);

const state = await open();
const grant = grantOf(await state.policies.get('acme', 'web', 0), levelCount);
say({ did: 'open' });

/** One agent: a key of its own, whose floor it raises step by step. */
async function agent(): Promise<never> {
  for (;;) {
    const id = requestId();
    const key = await state.keys.allocate(grant, id, newKey);
    const keyId = toHex(key.keyId);
    say({ did: 'allocate', keyId, request: toHex(id), key: digest(key.securityKey) });
    await state.keys.confirm(grant, requestId(), { keyId: key.keyId, svn: 1, kcv: key.kcv });
    say({ did: 'confirm', keyId });
    for (let targetSvn = 2; targetSvn < 12; targetSvn++) {
      const raise = { keyId: key.keyId, targetSvn, expectedFloor: targetSvn - 1 };
      const { newFloor } = await state.keys.update(grant, requestId(), {
        ...raise,
        retireBelow: undefined,
      });
      say({ did: 'update', keyId, floor: newFloor });
      const ask = { keyId: key.keyId, svn: undefined, reason: 'rekey' } as const;
      const { svn, securityKey } = await state.keys.acquire(grant, requestId(), ask);
      say({ did: 'acquire', keyId, svn, key: digest(securityKey) });
    }
  }
}

/** Tells whether two keys are the same without telling them. */
function digest(securityKey: Uint8Array): string {
  return toHex(crypto.hash('sha256', securityKey));
}

writeFileSync(join(folder, 'pid'), `${process.pid}`);
await Promise.all(Array.from({ length: 16 }, agent));
