import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { HostileParser } from '../../test/hostile/parser.js';
import { hostileParsers } from '../../test/hostile/table.js';
import { Coverage } from './coverage.js';
import { type FuzzRun, fuzz } from './loop.js';
import { randomOf } from './mutate.js';

// npm run fuzz -- <parser>... [--seconds N] [--seed N] [--keep] | --all | --list
// Coverage-guided fuzzing of one or more parsers. What it finds wrong becomes a test in test/corpus
// and ends the run with exit code 1.

const root = new URL('../../../', import.meta.url);
const corpusFolder = fileURLToPath(new URL('test/corpus/', root));
/** Of what was found on the way, so many small ones are worth keeping. */
const keptMax = 12;
const keptBytesMax = 768;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    /** Runs with the same seed try the same inputs, as far as the seeds of the parser allow. */
    seed: { type: 'string', default: '1' },
    all: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    /** Keep inputs that reached new code in test/corpus, small ones only. */
    keep: { type: 'boolean', default: false },
  },
});

const say = (text: string) => process.stdout.write(`${text}\n`);
const complain = (text: string) => process.stderr.write(`fuzz: error: ${text}\n`);

if (options.list) {
  for (const { name } of hostileParsers) say(name);
} else {
  process.exitCode = await runAll();
}

async function runAll(): Promise<number> {
  const names = options.all ? hostileParsers.map(({ name }) => name) : positionals;
  const parsers = names.flatMap((name) => hostileParsers.filter((p) => p.name === name));
  const seconds = Number(options.seconds);
  if (names.length === 0 || parsers.length !== names.length || !(seconds > 0)) {
    complain('name parsers of --list, or --all, and a positive number of --seconds');
    return 2;
  }
  let isClean = true;
  await using coverage = await Coverage.start(new URL('dist/', root).href);
  for (const parser of parsers) {
    const seeds = [...(await parser.seeds()), ...corpusOf(parser)];
    const until = performance.now() + seconds * 1000;
    const random = randomOf(Number(options.seed));
    const run = await fuzz(parser, seeds, coverage, random, () => performance.now() > until);
    report(parser, run);
    isClean &&= run.finding === undefined;
  }
  return isClean ? 0 : 1;
}

function corpusOf({ name }: HostileParser): Uint8Array[] {
  const folder = join(corpusFolder, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((file) => new Uint8Array(readFileSync(join(folder, file))));
}

function report({ name }: HostileParser, { executions, blocks, found, finding }: FuzzRun): void {
  say(`${name}: ${executions} inputs, ${blocks} blocks reached, ${found.length} inputs found more`);
  if (options.keep) {
    const small = found.filter(({ length }) => length <= keptBytesMax);
    for (const input of small.slice(0, keptMax)) keep(name, 'found', input);
  }
  if (finding === undefined) return;
  complain(`${finding.what}\nkept as ${keep(name, 'crash', finding.input)}`);
}

/** @returns path of the file */
function keep(name: string, kind: 'found' | 'crash', input: Uint8Array): string {
  const folder = join(corpusFolder, name);
  mkdirSync(folder, { recursive: true });
  const digest = createHash('sha256').update(input).digest('hex').slice(0, 12);
  const path = join(folder, `${kind}-${digest}.bin`);
  writeFileSync(path, input);
  return path;
}
