import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const { packages } = JSON.parse(
  readFileSync(fileURLToPath(new URL('../package-lock.json', import.meta.url)), 'utf8'),
) as { readonly packages: Readonly<Record<string, Locked>> };

// npm leaves out of the lock what its registry does not have for this machine, and npm 11 then
// refuses `npm ci`. A registry that mirrors packages of one platform only is enough for that.
test('package-lock.json names the optional packages of every platform', () => {
  const missing = Object.values(packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => packages[`node_modules/${name}`] === undefined);
  expect(missing).toEqual([]);
});
