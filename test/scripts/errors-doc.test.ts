import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { errorTable } from '#core/errors.js';
import { errorsDoc } from '../../scripts/errors-doc.js';

const read = (path: string) =>
  readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

test('docs/errors.md is what npm run docs writes', () => {
  expect(read('docs/errors.md')).toBe(errorsDoc(read('core/errors.ts')));
});

test('docs/errors.md has a row for every code', () => {
  const listed = [...read('docs/errors.md').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map((m) => m[1]);
  expect(listed.sort()).toEqual(Object.keys(errorTable).sort());
});
