import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { accessDoc } from '../../scripts/access-doc.js';

test('docs/access.md is what npm run docs writes from the table that the servers go by', () => {
  const file = fileURLToPath(new URL('../../docs/access.md', import.meta.url));
  expect(readFileSync(file, 'utf8')).toBe(accessDoc());
});
