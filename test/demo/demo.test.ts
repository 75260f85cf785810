import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logFile } from '../run-folder.js';

// The README's first command, once: every step is asserted inside; here, that they all are there.

interface Step {
  readonly n: number;
  readonly source: string;
  readonly title: string;
  readonly ok: boolean;
  readonly facts: { readonly [name: string]: unknown };
}

const program = fileURLToPath(new URL('../../dist/demo/main.js', import.meta.url));

let code: number | null;
let story: { readonly ok: boolean; readonly seconds: number; readonly steps: readonly Step[] };
/** Temporary folder of this demo alone; short, because unix sockets lie below. */
const temporary = mkdtempSync(join(tmpdir(), 'd-'));

beforeAll(async () => {
  const env = { ...process.env, TMPDIR: temporary };
  const child = spawn(process.execPath, [program, '--json'], { cwd: '/', env });
  child.stderr.pipe(createWriteStream(logFile('demo')));
  const exit = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const [ended, out] = await Promise.all([exit, text(child.stdout)]);
  [code, story] = [ended, JSON.parse(out)];
}, 300_000);

afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe('npm run demo', () => {
  test('every step does what it says, and the exit code says so', () => {
    expect(story.steps.filter((step) => !step.ok)).toEqual([]);
    expect([code, story.ok]).toEqual([0, true]);
    expect(story.steps.map((step) => step.n)).toEqual(story.steps.map((_, i) => i + 1));
  });

  test('tells the six figures of the draft in their order', () => {
    const figures = story.steps.flatMap(({ source }) => /Figure (\d)/.exec(source)?.[1] ?? []);
    expect(figures).toEqual(['1', '2', '3', '4', '5', '6']);
  });

  const refusals: readonly (readonly [title: string, fact: string, code: string])[] = [
    ['Without a Keying Policy', 'code that the Key Agent got', 'NO_POLICY'],
    ['A Key Agent with an outdated SVN', 'code that the Key Agent got', 'SVN_BELOW_FLOOR'],
    ['A tampered report', 'one bit flipped', 'EVIDENCE_SIGNATURE_INVALID'],
    ['A CVM with another measurement', 'code that the Key Agent got', 'POLICY_MEASUREMENT'],
    ["Another tenant's KeyID", 'code that the Key Agent got', 'NOT_FOUND'],
    ['A relay that opens TLS', 'code that the Key Agent got', 'BINDING_MISMATCH'],
  ];
  test.each(refusals)('%s is refused', (title, fact, refusal) => {
    const step = story.steps.find((candidate) => candidate.title.startsWith(title));
    expect(step?.facts[fact]).toBe(refusal);
  });

  test('re-allocates from the same root key', () => {
    const step = story.steps.find(({ title }) => title.startsWith('Re-allocation: a new CVM'));
    expect(step?.facts).toMatchObject({ outcome: 'delivered', 'keys on the Key Server': 1 });
  });

  test('leaves nothing behind', () => {
    expect(readdirSync(temporary)).toEqual([]);
  });
});
