import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

/** Forms in which a secret might be written. */
function formsOf(secret: Buffer): Buffer[] {
  const base64 = secret.toString('base64').replace(/=+$/, '');
  const texts = [secret.toString('hex'), secret.toString('hex').toUpperCase(), base64];
  texts.push(base64.replaceAll('+', '-').replaceAll('/', '_'));
  return [secret, ...texts.map((text) => Buffer.from(text))];
}

/** Paths of the files below `folder` that hold one of the canaries. */
function leaks(folder: string): string[] {
  const list = join(folder, '.canaries');
  if (!existsSync(list)) return [];
  const forms = readFileSync(list, 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => formsOf(Buffer.from(line, 'hex')));
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== '.canaries')
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const content = readFileSync(path);
      return forms.some((form) => content.includes(form));
    });
}

/** Makes the folder of the run; at the end no canary may be found in it. */
export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'cvmp-'));
  project.provide('runFolder', folder);
  return () => {
    const found = leaks(folder);
    if (found.length > 0) {
      // An error here alone is printed, but leaves the exit code of the run as it was.
      process.exitCode = 1;
      throw new Error(`a secret was written in the clear; kept for a look: ${found.join(', ')}`);
    }
    rmSync(folder, { recursive: true, force: true });
  };
}
