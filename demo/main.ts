#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { jsonText } from '#cli/terminal/output.js';
import { createdCvm, keyedCvm } from './figures.js';
import { refused } from './refusals.js';
import { setStage } from './stage.js';
import { Story } from './story.js';
import { updatedCvm } from './svn.js';

const usage = `usage: npm run demo [-- --json] [-- --keep]
  --json  print the steps as records, nothing else
  --keep  leave the servers' folder in place
`;

interface Arguments {
  readonly json: boolean;
  readonly keep: boolean;
}

function readArguments(): Arguments | undefined {
  try {
    const options = {
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
    } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}`);
    return undefined;
  }
}

/** Plays the story over real processes and sockets. @returns the exit code */
async function main(): Promise<number> {
  const options = readArguments();
  if (options === undefined) return 2;
  const tell = options.json ? () => undefined : (text: string) => process.stdout.write(text);
  const started = performance.now();
  tell('CVMP: Figures 1 to 6 of draft-deng-teep-cvmp-01, and what is refused.\n');
  tell(
    'A Key Server, a CVM Platform and a Key Agent for each CVM start as processes of their own;\n',
  );
  tell('the hardware is simulated, everything else is real.\n');
  const stage = await setStage((line) => process.stderr.write(`${line}\n`));
  process.once('SIGINT', () => void stage.clear(options.keep).then(() => process.exit(130)));
  const story = new Story(tell);
  let failure: unknown;
  try {
    await createdCvm(story, stage);
    const made = await keyedCvm(story, stage);
    await updatedCvm(story, stage, made);
    await refused(story, stage, made);
  } catch (error) {
    failure = error;
  } finally {
    await stage.clear(options.keep);
  }
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  const { records } = story;
  const ok = failure === undefined && records.every((record) => record.ok);
  if (options.json) {
    const steps = records.map((record) => ({ ...record, command: record.command ?? '' }));
    process.stdout.write(`${jsonText({ ok, seconds, steps }, 2)}\n`);
  }
  tell(
    `\n${ok ? 'Every' : 'Not every'} step did what it says: ${records.length} steps, ${seconds} s.\n`,
  );
  if (options.keep) process.stderr.write(`kept: ${stage.folder}\n`);
  if (failure !== undefined) process.stderr.write(`demo: error: ${(failure as Error).message}\n`);
  return ok ? 0 : 1;
}

process.exitCode = await main();
