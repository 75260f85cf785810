import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('.', import.meta.url));

// Unit tests run against the sources; tests that start real processes run what `npm run build` wrote.
export default defineConfig({
  resolve: {
    alias: [
      { find: '#crypto', replacement: `${root}core/crypto.node.ts` },
      {
        find: /^#(core|gen|wire|sim|libvirt|server|agent|cli)\/(.*)\.js$/,
        replacement: `${root}$1/$2.ts`,
      },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    pool: 'forks',
    reporters: ['default', './scripts/closing-line.ts'],
    maxWorkers: 2,
  },
});
