import { expect, it } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { Coverage } from '../../scripts/fuzz/coverage.js';
import { fuzz } from '../../scripts/fuzz/loop.js';
import { mutated, randomOf } from '../../scripts/fuzz/mutate.js';
import type { HostileParser } from '../hostile/parser.js';

/** Fails on one word only, which no mutation makes by chance. */
const maze: HostileParser = {
  name: 'maze',
  seeds: () => [new Uint8Array(4)],
  parse: (bytes) => {
    if (bytes[0] === 0xff) {
      if (bytes[1] === 0x7f) {
        if (bytes[2] === 0x30) throw new RangeError('in the middle of the maze');
        throw new CvmpError('SIZE', 'second turn');
      }
      throw new CvmpError('MALFORMED', 'first turn');
    }
  },
};

const folder = new URL('../', import.meta.url).href;

it('fuzzing finds its way by coverage, and an error without a code ends it', async () => {
  await using coverage = await Coverage.start(folder);
  let left = 2000;
  const seeds = [...(await maze.seeds())];
  const run = await fuzz(maze, seeds, coverage, randomOf(1), () => left-- === 0);
  expect(run.finding?.what).toContain('in the middle of the maze');
  expect([...(run.finding?.input ?? [])].slice(0, 3)).toEqual([0xff, 0x7f, 0x30]);
});

it('the same seed makes the same mutations', () => {
  const inputs = (seed: number) => {
    const random = randomOf(seed);
    const input = new Uint8Array(64);
    return Array.from({ length: 50 }, () => [...mutated(input, input, random, 100)]);
  };
  expect(inputs(7)).toEqual(inputs(7));
  expect(inputs(7)).not.toEqual(inputs(8));
});

it('a mutation keeps to its length', () => {
  const random = randomOf(3);
  const input = new Uint8Array(64);
  for (let i = 0; i < 1000; i++) {
    expect(mutated(input, input, random, 70).length).toBeLessThanOrEqual(70);
  }
});
