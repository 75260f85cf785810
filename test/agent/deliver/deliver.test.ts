import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { deliver } from '#agent/deliver/deliver.js';
import { demandVolatile } from '#agent/deliver/tmpfs.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const key = crypto.randomBytes(32);
const never = new AbortController().signal;

const shm = '/dev/shm';
const hasTmpfs = existsSync(shm) && (await refusalOf(demandVolatile(shm))) === 'accepted';
const volatile = hasTmpfs ? mkdtempSync(join(shm, 'cvmp-test-')) : '';
afterAll(() => {
  if (hasTmpfs) rmSync(volatile, { recursive: true });
});

const toFile = (path: string, allowPersistentFiles = false) =>
  deliver(key, { deliver: { kind: 'file', path }, allowPersistentFiles }, never);

describe.skipIf(!hasTmpfs)(`key file${hasTmpfs ? '' : ' (there is no tmpfs at /dev/shm)'}`, () => {
  test('is on tmpfs, whole, and readable by its owner alone', async () => {
    const path = join(volatile, 'key');
    await toFile(path);
    expect(new Uint8Array(readFileSync(path))).toEqual(key);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('replaces one of an earlier boot, and does not follow a link', async () => {
    const path = join(volatile, 'again');
    const elsewhere = join(volatile, 'elsewhere');
    writeFileSync(path, 'old', { mode: 0o644 });
    symlinkSync(elsewhere, `${path}.new`);
    await toFile(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(existsSync(elsewhere)).toBe(false);
  });
});

const folder = temporaryFolder('deliver');
const onDisk = (await refusalOf(demandVolatile(folder))) === 'DELIVERY';

describe('key file outside tmpfs', () => {
  test.skipIf(!onDisk)(
    `is refused${onDisk ? '' : ' (the temporary folder is on tmpfs)'}`,
    async () => {
      expect(await refusalOf(toFile(join(folder, 'key')))).toBe('DELIVERY');
      expect(existsSync(join(folder, 'key'))).toBe(false);
    },
  );

  test('is written where the configuration says so', async () => {
    const path = join(folder, 'allowed');
    await toFile(path, true);
    expect(new Uint8Array(readFileSync(path))).toEqual(key);
  });

  test('a folder that is not there is refused', async () => {
    expect(await refusalOf(toFile('/nonexistent/key'))).toBe('DELIVERY');
    expect(await refusalOf(toFile('/nonexistent/key', true))).toBe('DELIVERY');
  });
});

describe('key socket', () => {
  const toSocket = (path: string, signal = never) =>
    deliver(key, { deliver: { kind: 'socket', path }, allowPersistentFiles: false }, signal);

  const appeared = async (path: string) => {
    while (!existsSync(path)) await new Promise((resolve) => setImmediate(resolve));
  };

  const readAll = (path: string): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      connect(path)
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => resolve(Buffer.concat(chunks)))
        .on('error', reject);
    });

  test('serves the key once, to its owner alone, and goes away', async () => {
    const path = join(folder, 'a');
    const delivery = toSocket(path);
    await appeared(path);
    const first = await readAll(path);
    expect(new Uint8Array(first)).toEqual(key);
    await delivery;
    expect(existsSync(path)).toBe(false);
    await expect(readAll(path)).rejects.toThrow();
  });

  test('takes the place of a socket that a killed agent left', async () => {
    const path = join(folder, 'b');
    writeFileSync(path, '');
    const delivery = toSocket(path);
    while (!statSync(path, { throwIfNoEntry: false })?.isSocket()) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await readAll(path)).length).toBe(32);
    await delivery;
  });

  test('stops waiting when the agent is told to end', async () => {
    const path = join(folder, 'c');
    const stop = new AbortController();
    const delivery = toSocket(path, stop.signal);
    await appeared(path);
    stop.abort();
    expect(await refusalOf(delivery)).toBe('CANCELLED');
    expect(existsSync(path)).toBe(false);
    expect(await refusalOf(toSocket(path, stop.signal))).toBe('CANCELLED');
  });

  test('a folder that is not there is refused', async () => {
    expect(await refusalOf(toSocket('/nonexistent/key'))).toBe('DELIVERY');
  });
});

test('a disk that the agent opened needs nothing more', async () => {
  await deliver(key, { deliver: { kind: 'disk' }, allowPersistentFiles: false }, never);
});
