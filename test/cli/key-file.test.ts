import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createKeyFile, readKeyFile } from '#cli/profile/key-file.js';
import { crypto } from '#crypto';
import { refusalOf } from '../refusal.js';
import { temporaryFolder } from '../run-folder.js';

const fresh = () => join(temporaryFolder('keys'), 'key.pem');

describe('key files', () => {
  test.each(['P-256', 'P-384'] as const)(
    'a %s key is written with mode 0600 and read back',
    async (curve) => {
      const file = fresh();
      const made = await createKeyFile(file, curve);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect(await readFile(file, 'utf8')).toMatch(
        /^-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END PRIVATE KEY-----\n$/,
      );
      const read = await readKeyFile(file, curve);
      expect(read.publicPoint).toEqual(made.publicPoint);
      const data = crypto.randomBytes(16);
      expect((await crypto.sign(read, data)).length).toBe(curve === 'P-256' ? 64 : 96);
    },
  );

  test('a key file is never overwritten', async () => {
    const file = fresh();
    await createKeyFile(file, 'P-256');
    const before = await readFile(file);
    expect(await refusalOf(createKeyFile(file, 'P-256'))).toBe('ALREADY_EXISTS');
    expect(await readFile(file)).toEqual(before);
  });

  test.each([0o640, 0o604, 0o610, 0o620, 0o777])('mode %o is too open', async (mode) => {
    const file = fresh();
    await createKeyFile(file, 'P-256');
    await chmod(file, mode);
    expect(await refusalOf(readKeyFile(file))).toBe('CONFIG');
  });

  test('a key on another curve, no key, a key in another form and no file are refused', async () => {
    const file = fresh();
    await createKeyFile(file, 'P-384');
    expect(await refusalOf(readKeyFile(file, 'P-256'))).toBe('CONFIG');
    const text = await readFile(file, 'utf8');
    for (const wrong of [
      '',
      'hello',
      text.replace('MI', 'MJ'),
      text.replaceAll('PRIVATE', 'EC PRIVATE'),
    ]) {
      await writeFile(file, wrong);
      expect(await refusalOf(readKeyFile(file))).toBe('MALFORMED');
    }
    expect(await refusalOf(readKeyFile(fresh()))).toBe('USAGE');
  });
});
