import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { leaks } from './global-setup.js';
import { temporaryFolder } from './run-folder.js';

describe('secrets in the clear are found at the end of a run', () => {
  // Not canaries of this run: they lie in files on purpose.
  const secrets = [1, 2, 3].map((seed) =>
    Buffer.from(Array.from({ length: 32 }, (_, i) => (i * 37 + seed * 101) & 255)),
  );
  const secret = secrets[1]!;
  const base64 = secret.toString('base64').replace(/=+$/, '');

  test.each<[string, Buffer | string, boolean]>([
    ['raw', Buffer.concat([Buffer.alloc(9), secret, Buffer.alloc(3)]), true],
    ['raw, at the end', Buffer.concat([Buffer.alloc(9), secret]), true],
    ['raw, behind its own beginning', Buffer.concat([secret.subarray(0, 5), secret]), true],
    ['as hex', `x${secret.toString('hex')}x`, true],
    ['as upper-case hex', secret.toString('hex').toUpperCase(), true],
    ['as base64', base64, true],
    ['as base64url', base64.replaceAll('+', '-').replaceAll('/', '_'), true],
    ['over the edge of a block', Buffer.concat([Buffer.alloc(65_530, 7), secret]), true],
    ['behind empty blocks', Buffer.concat([Buffer.alloc(200_000), secret]), true],
    ['before empty blocks', Buffer.concat([secret, Buffer.alloc(200_000)]), true],
    [
      'in a block that ends empty',
      Buffer.concat([Buffer.alloc(131_050), secret, Buffer.alloc(70_000)]),
      true,
    ],
    ['all but its last byte', secret.subarray(0, 31), false],
    ['nothing of it', Buffer.alloc(64), false],
    ['an empty file', '', false],
  ])('%s', (_, content, isFound) => {
    const folder = temporaryFolder('leaks');
    writeFileSync(join(folder, '.canaries'), secrets.map((s) => `${s.toString('hex')}\n`).join(''));
    writeFileSync(join(folder, 'file'), content);
    expect(leaks(folder)).toEqual(isFound ? [join(folder, 'file')] : []);
  });
});
