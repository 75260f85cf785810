#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { parseAgentConfig, printAgentConfig } from './config.js';
import { exitCode } from './exit-codes.js';
import { createLog } from './log.js';
import { runAgent } from './run.js';

const usage = `usage: cvmp-agent --config FILE [--once] [--print-config]
  --config FILE    YAML; see docs/operating.md
  --once           end after the key is delivered
  --print-config   show the effective configuration and end
`;

interface Arguments {
  readonly configFile: string;
  readonly once: boolean;
  readonly printConfig: boolean;
}

/** @returns undefined where help is asked. @throws CvmpError USAGE */
function readArguments(args: readonly string[]): Arguments | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        once: { type: 'boolean', default: false },
        'print-config': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) return undefined;
    if (values.config === undefined) throw new Error('--config FILE is missing');
    const { config: configFile, once } = values;
    return { configFile, once, printConfig: values['print-config'] };
  } catch (cause) {
    throw new CvmpError('USAGE', `${(cause as Error).message}\n${usage}`, { cause });
  }
}

function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CvmpError('CONFIG', `${path} cannot be read`, { cause });
  }
}

async function main(args: readonly string[]): Promise<number> {
  const given = readArguments(args);
  if (given === undefined) {
    process.stdout.write(usage);
    return 0;
  }
  const folder = dirname(resolve(given.configFile));
  const config = parseAgentConfig(readConfigFile(given.configFile), folder);
  if (given.printConfig) {
    process.stdout.write(printAgentConfig(config));
    return 0;
  }
  // Whatever the agent makes is for its owner alone, from the first instant.
  process.umask(0o077);
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  return runAgent(config, {
    now: Date.now,
    monotonic: () => performance.now(),
    random: () => randomInt(2 ** 32) / 2 ** 32,
    randomBytes: crypto.randomBytes,
    sleep: (ms) =>
      sleep(ms, undefined, { signal: stop.signal }).catch((cause) => {
        throw new CvmpError('CANCELLED', 'the agent was told to end', { cause });
      }),
    log: createLog(),
    stop: stop.signal,
    once: given.once,
    agentBuild: `cvmp-agent/${version}`,
  });
}

const packageFile = new URL('../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

try {
  // Work that was left where it was must not keep the process.
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof CvmpError)) throw error;
  process.stderr.write(`cvmp-agent: error: ${error.message}\n  hint: ${error.next}\n`);
  process.exit(exitCode(error.code));
}
