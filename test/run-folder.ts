import { appendFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { inject } from 'vitest';
import { toHex } from '#core/bytes.js';

// One folder holds everything that a test run writes, so that at its end the whole of it can be
// searched for secrets (global-setup.ts).

declare module 'vitest' {
  interface ProvidedContext {
    /** Absolute path of the folder of this run. */
    runFolder: string;
  }
}

/** A fresh folder of this run; removed at its end. Paths stay short enough for unix sockets. */
export function temporaryFolder(name: string): string {
  return mkdtempSync(join(inject('runFolder'), `${name.slice(0, 12)}-`));
}

/** Where a test writes output of processes that it started, to be searched too. */
export function logFile(name: string): string {
  const folder = join(inject('runFolder'), 'logs');
  mkdirSync(folder, { recursive: true });
  return join(folder, `${name}-${process.pid}.log`);
}

/**
 * Declares bytes that must occur in no file and no log of the whole run, neither raw nor as hex or
 * base64: Security Keys, root keys, KEKs that a test came to know.
 */
export function canary(secret: Uint8Array): void {
  appendFileSync(join(inject('runFolder'), '.canaries'), `${toHex(secret)}\n`, { mode: 0o600 });
}
