import {
  growthMax,
  type HostileParser,
  outcomeOf,
  parseBytesMax,
  parseMsMax,
} from '../../test/hostile/parser.js';
import type { Coverage } from './coverage.js';
import { mutated } from './mutate.js';

/** An input on which a parser did what it must not. */
export interface Finding {
  readonly input: Uint8Array;
  readonly what: string;
}

export interface FuzzRun {
  readonly executions: number;
  /** Blocks of code that were reached. */
  readonly blocks: number;
  /** Inputs that reached a block which no earlier one did, seeds left out. */
  readonly found: readonly Uint8Array[];
  readonly finding: Finding | undefined;
}

/** Taking coverage costs as much as many inputs, so that it is taken of so many together. */
const together = 128;

/**
 * Feeds mutations of the seeds to a parser; what reaches new code becomes a seed. Ends with the
 * first finding, or when `isOver`.
 */
export async function fuzz(
  parser: HostileParser,
  seeds: readonly Uint8Array[],
  coverage: Coverage,
  random: () => number,
  isOver: () => boolean,
): Promise<FuzzRun> {
  const corpus = [...seeds];
  const found: Uint8Array[] = [];
  const seen = new Set<string>();
  const lengthMax = Math.max(...seeds.map(({ length }) => length)) + growthMax;
  let executions = 0;
  const run = async (inputs: readonly Uint8Array[]) => {
    for (const input of inputs) {
      executions += 1;
      const finding = await judged(parser, input);
      if (finding !== undefined) return finding;
    }
    return undefined;
  };
  const isNew = async () => {
    const before = seen.size;
    for (const block of await coverage.take()) seen.add(block);
    return seen.size > before;
  };
  /** Those of a batch that reached something not known, by halves. */
  const pathfinders = async (
    batch: readonly Uint8Array[],
    known: Set<string>,
  ): Promise<readonly Uint8Array[]> => {
    for (const input of batch) await outcomeOf(parser, input);
    const blocks = [...(await coverage.take())].filter((block) => !known.has(block));
    if (blocks.length === 0) return [];
    if (batch.length === 1) {
      for (const block of blocks) known.add(block);
      return batch;
    }
    const half = batch.length / 2;
    const first = await pathfinders(batch.slice(0, half), known);
    return [...first, ...(await pathfinders(batch.slice(half), known))];
  };
  const ended = (finding: Finding | undefined) => ({
    executions,
    blocks: seen.size,
    found,
    finding,
  });

  const ofSeeds = await run(corpus);
  if (ofSeeds !== undefined) return ended(ofSeeds);
  await isNew();
  while (!isOver()) {
    const any = () => corpus[Math.floor(random() * corpus.length)] ?? new Uint8Array();
    const batch = Array.from({ length: together }, () => mutated(any(), any(), random, lengthMax));
    const known = new Set(seen);
    const finding = await run(batch);
    if (finding !== undefined) return ended(finding);
    if (!(await isNew())) continue;
    for (const input of await pathfinders(batch, known)) {
      corpus.push(input);
      found.push(input);
    }
  }
  return ended(undefined);
}

const bytesInUse = () => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

/** What is wrong with the parser on this input, if anything. */
async function judged(parser: HostileParser, input: Uint8Array): Promise<Finding | undefined> {
  const measured = async () => {
    const [bytes, from] = [bytesInUse(), performance.now()];
    await outcomeOf(parser, input);
    return { ms: performance.now() - from, bytes: bytesInUse() - bytes };
  };
  try {
    let { ms, bytes } = await measured();
    // Whatever else the machine does is not the parser's.
    for (let again = 0; again < 3 && (ms > parseMsMax || bytes > parseBytesMax); again++) {
      const next = await measured();
      ms = Math.min(ms, next.ms);
      bytes = Math.min(bytes, next.bytes);
    }
    if (ms > parseMsMax) return { input, what: `takes ${ms.toFixed(0)} ms` };
    if (bytes > parseBytesMax) return { input, what: `takes ${bytes} bytes` };
    return undefined;
  } catch (error) {
    return { input, what: error instanceof Error ? error.message : String(error) };
  }
}
