import { beforeEach, describe, expect, test } from 'vitest';
import { VolumeDisk } from '#agent/disk/volume.js';
import { obtainKey } from '#agent/provision/obtain.js';
import { fromHex, isZero } from '#core/bytes.js';
import { crypto } from '#crypto';
import { MemoryDisk } from '../../fakes/disk-file.js';
import { FakeKeyServer } from '../../fakes/key-server.js';
import { refusalOf } from '../../refusal.js';

let server: FakeKeyServer;
let file: MemoryDisk;
let released: Uint8Array[];

beforeEach(() => {
  server = new FakeKeyServer();
  file = new MemoryDisk(1 << 20);
  released = [];
  server.onRelease = (key) => released.push(key);
});

const request = (keyId?: Uint8Array) => ({
  requestId: crypto.randomBytes(16),
  keyId,
  purpose: 'disk' as const,
});

async function boot(level: number, keyId?: Uint8Array) {
  return obtainKey(await VolumeDisk.load(file), server.session(level), request(keyId));
}

describe('obtaining the key of a disk', () => {
  test('an unformatted disk is formatted with a new key at the floor of the policy', async () => {
    const obtained = await boot(3);
    expect(obtained).toMatchObject({
      action: 'formatted',
      released: { svn: 1 },
      rekeyTo: undefined,
    });
    const { slots } = await VolumeDisk.load(file);
    expect(slots?.map((s) => s.token)).toEqual([
      { keyId: obtained.released.keyId, svn: 1, epoch: 1 },
    ]);
  });

  test('a formatted disk is opened with the key that its header names', async () => {
    const first = await boot(1);
    const second = await boot(1);
    expect(second).toMatchObject({ action: 'opened', rekeyTo: undefined });
    expect(second.released.key).toEqual(first.released.key);
    expect(server.calls).toEqual(['alloc', 'acquire 1 boot']);
  });

  test('a configured KeyID means another key from the same root key (draft s.3.3.4)', async () => {
    const first = await boot(1);
    file = new MemoryDisk(1 << 20);
    const second = await boot(1, first.released.keyId);
    expect(second.action).toBe('formatted');
    expect(second.released.keyId).toEqual(first.released.keyId);
    expect(server.keys.size).toBe(1);
  });

  test('on a formatted disk the header decides, not the configured KeyID', async () => {
    const first = await boot(1);
    const second = await boot(1, fromHex('ff'.repeat(16)));
    expect(second.released.keyId).toEqual(first.released.keyId);
  });

  test('a foreign KeyID is refused, and the disk stays unformatted', async () => {
    expect(await refusalOf(boot(1, crypto.randomBytes(16)))).toBe('NOT_FOUND');
    expect((await VolumeDisk.load(file)).slots).toBeUndefined();
  });

  test('an agent below the floor is refused', async () => {
    await boot(1);
    server.onlyKey.floor = 2;
    expect(await refusalOf(boot(1))).toBe('SVN_BELOW_FLOOR');
  });

  test('an allocation that is repeated makes no second key', async () => {
    const again = request();
    const disk = await VolumeDisk.load(file);
    server.failNext = { method: 'alloc', code: 'UNAVAILABLE', tookEffect: true };
    expect(await refusalOf(obtainKey(disk, server.session(1), again))).toBe('UNAVAILABLE');
    await obtainKey(disk, server.session(1), again);
    expect(server.keys.size).toBe(1);
  });

  test('a level above the floor is a re-key to that level', async () => {
    await boot(1);
    expect((await boot(3)).rekeyTo).toBe(3);
  });

  test('a floor above the key of the disk is a re-key to the level', async () => {
    await boot(1);
    server.onlyKey.floor = 2;
    expect((await boot(2)).rekeyTo).toBe(2);
  });

  test('a wrong key opens nothing, and no key stays in memory', async () => {
    await boot(1);
    server.onlyKey.rootKeys[0]!.fill(9);
    released = [];
    expect(await refusalOf(boot(1))).toBe('DISK');
    expect(released.map(isZero)).toEqual([true]);
  });

  test('a disk that fails while it is formatted leaves no key in memory', async () => {
    file.writesLeft = 1;
    expect(await refusalOf(boot(1))).toBe('DISK');
    expect(released.map(isZero)).toEqual([true]);
  });

  test('without a disk the configured KeyID is fetched at its floor', async () => {
    const { released: key } = await boot(1);
    server.onlyKey.floor = 2;
    const obtained = await obtainKey(undefined, server.session(3), request(key.keyId));
    expect(obtained).toMatchObject({ action: '', slot: undefined, released: { svn: 2 } });
  });

  test('without a disk and a KeyID a new key is allocated', async () => {
    const obtained = await obtainKey(undefined, server.session(1), request());
    expect(obtained.released.svn).toBe(1);
    expect(server.keys.size).toBe(1);
  });
});
