import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { crypto } from '#crypto';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { onlyKey, RecordSealer } from '#server/key-server/store/seal.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';

const { randomBytes } = crypto;
const id = new Uint8Array(16).fill(1);
const record = new TextEncoder().encode('a record of the Key Server');

function sealerOf(key = new Uint8Array(32).fill(2), storeId = id): RecordSealer {
  return new RecordSealer(crypto, onlyKey(key), storeId, randomBytes);
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
