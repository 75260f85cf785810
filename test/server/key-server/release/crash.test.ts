import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '#core/bytes.js';
import { crypto } from '#crypto';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { temporaryFolder } from '../../../run-folder.js';
import { grantOf, newKey, openPlace, requestId } from '../state.js';

interface Answer {
  readonly did: 'open' | 'allocate' | 'confirm' | 'update' | 'acquire';
  readonly keyId: string;
  readonly request: string;
  readonly floor: number;
  readonly svn: number;
  /** SHA-256 of the Security Key. */
  readonly key: string;
}

/** What was acknowledged of a key. */
interface Known {
  request: string;
  active: boolean;
  floor: number;
  /** Digests of Security Keys by SVN. */
  readonly keys: Map<number, string>;
}

const program = fileURLToPath(
  new URL('../../../../dist/test/server/key-server/release/agents-process.js', import.meta.url),
);

/** Runs the agents until so many answers have come, then kills them. */
async function killedAfter(folder: string, answers: number, known: Map<string, Known>) {
  const child = spawn(process.execPath, [program, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    // The last line may be cut off: then it was not acknowledged either.
    if (!line.endsWith('}')) continue;
    learn(known, JSON.parse(line) as Answer);
    if (++count === answers) child.kill('SIGKILL');
  }
  await exited;
  expect(count).toBeGreaterThanOrEqual(answers);
}

function learn(known: Map<string, Known>, answer: Answer): void {
  if (answer.did === 'open') return;
  const { keyId } = answer;
  if (answer.did === 'allocate') {
    expect(known.has(keyId)).toBe(false);
    const keys = new Map([[1, answer.key]]);
    known.set(keyId, { request: answer.request, active: false, floor: 1, keys });
  }
  const key = known.get(keyId)!;
  if (answer.did === 'confirm') key.active = true;
  if (answer.did === 'update') key.floor = answer.floor;
  if (answer.did === 'acquire') key.keys.set(answer.svn, answer.key);
}

async function compare(state: KeyServerState, known: Map<string, Known>): Promise<void> {
  const grant = grantOf(await state.policies.get('acme', 'web', 0), 64);
  const each = async ([hex, key]: readonly [string, Known]) => {
    const keyId = fromHex(hex);
    const info = await state.keys.get('acme', keyId);
    expect(info.svnFloor).toBeGreaterThanOrEqual(key.floor);
    if (key.active) expect(info.state).toBe('active');
    for (const [svn, digest] of key.keys) {
      const ask = { keyId, svn, reason: 'boot' } as const;
      const { securityKey } = await state.keys.acquire(grant, requestId(), ask);
      expect(toHex(crypto.hash('sha256', securityKey))).toBe(digest);
    }
    const again = await state.keys.allocate(grant, fromHex(key.request), newKey);
    expect(toHex(again.keyId)).toBe(hex);
  };
  await Promise.all([...known].map(each));
}

describe('kill -9 amid allocations and updates (architecture.md s.5)', () => {
  it('nothing acknowledged is lost, no floor is lower, every key is what it was', async () => {
    const folder = temporaryFolder('crash');
    const known = new Map<string, Known>();
    for (const answers of [150, 333, 600]) await killedAfter(folder, answers, known);
    const place = {
      folder: join(folder, 'store'),
      masterKey: join(folder, 'master.key'),
      now: Date.now(),
    };
    const state = await openPlace(place);
    expect(known.size).toBeGreaterThan(40);
    await compare(state, known);
    await state.close();
  });
});
