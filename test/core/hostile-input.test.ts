import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { outcomeOf, parseBytesMax } from '../hostile/parser.js';
import { hostileParsers } from '../hostile/table.js';

const corpus = fileURLToPath(new URL('../corpus/', import.meta.url));
const corpusBytesMax = 200 * 1024;

/** Every prefix. */
function* truncations(seed: Uint8Array): Iterable<Uint8Array> {
  for (let length = 0; length < seed.length; length++) yield seed.slice(0, length);
}

/** One byte changed: its lowest bit; in short seeds also its highest, and all of them. */
function* flippedBytes(seed: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < seed.length; at++) {
    for (const bits of seed.length > 1024 ? [0x01] : [0x01, 0x80, 0xff]) {
      const bytes = seed.slice();
      bytes[at]! ^= bits;
      yield bytes;
    }
  }
}

/** Four bytes that claim the largest length there is, wherever one may stand. */
function* largestLengths(seed: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < seed.length; at++) {
    const bytes = seed.slice();
    bytes.fill(0xff, at, at + 4);
    yield bytes;
  }
}

/** Asking for memory takes longer than parsing, so that it is asked after so many inputs. */
const togetherMax = 32;

/** Memory in use, garbage included. */
function bytesInUse(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

describe.each(hostileParsers)('hostile input: $name (protocol.md s.6.6)', (parser) => {
  it('its own seeds are accepted, or refused for what they say', async () => {
    const seeds = await parser.seeds();
    expect(seeds.length).toBeGreaterThan(0);
    for (const seed of seeds) {
      // Not for how they are written: the rest would test little behind the first byte.
      expect(['MALFORMED', 'NOT_CANONICAL', 'SIZE']).not.toContain(await outcomeOf(parser, seed));
    }
  });

  it.each([
    ['every truncation', truncations],
    ['every changed byte', flippedBytes],
    ['every length at its largest', largestLengths],
  ])('%s is accepted or refused by a code, in bounded memory', async (_, changed) => {
    for (const seed of await parser.seeds()) {
      let before = bytesInUse();
      let count = 0;
      for (const input of changed(seed)) {
        await outcomeOf(parser, input);
        if (++count % togetherMax !== 0) continue;
        const now = bytesInUse();
        if (now - before > parseBytesMax) expect.fail(`${now - before} bytes by input ${count}`);
        before = now;
      }
    }
  });

  it('what fuzzing found stays accepted or refused by a code', async () => {
    const found = join(corpus, parser.name);
    for (const file of existsSync(found) ? readdirSync(found) : []) {
      await outcomeOf(parser, new Uint8Array(readFileSync(join(found, file))));
    }
  });
});

describe('corpus of hostile input', () => {
  it('is of known parsers, and small', () => {
    const names = existsSync(corpus) ? readdirSync(corpus) : [];
    expect(names.filter((name) => !hostileParsers.some((p) => p.name === name))).toEqual([]);
    const bytes = names
      .flatMap((name) => readdirSync(join(corpus, name)).map((file) => join(corpus, name, file)))
      .reduce((sum, file) => sum + readFileSync(file).length, 0);
    expect(bytes).toBeLessThan(corpusBytesMax);
  });

  it('names of parsers are unique', () => {
    expect(new Set(hostileParsers.map(({ name }) => name)).size).toBe(hostileParsers.length);
  });
});
