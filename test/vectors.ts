import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The folder of recorded evidence beside the repository, or undefined. Such tests come on top of
 * those with self-made evidence:
 * `describe.skipIf(sharedVectors() === undefined)('... (needs ../shared/vectors)', ...)`.
 */
export function sharedVectors(): string | undefined {
  const path = fileURLToPath(new URL('../../shared/vectors', import.meta.url));
  return existsSync(path) ? path : undefined;
}
