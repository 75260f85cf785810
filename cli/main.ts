#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { CvmpError } from '#core/errors.js';
import { connectByTls, type ServerApis, serverApis } from './api.js';
import type { CommandContext } from './command.js';
import { exists } from './profile/key-file.js';
import { type Profile, readProfile } from './profile/profile.js';
import { run } from './program.js';
import type { Terminal } from './terminal/output.js';

// The only place that reads environment and arguments.
const { env, argv, stdin, stdout, stderr } = process;

const terminal: Terminal = {
  out: (text) => stdout.write(text),
  err: (text) => stderr.write(text),
  colour: stdout.isTTY === true && env.NO_COLOR === undefined && env.TERM !== 'dumb',
  interactive: stdin.isTTY === true && stderr.isTTY === true,
  ask: async (question) => {
    const lines = createInterface({ input: stdin, output: stderr });
    try {
      return await lines.question(question);
    } finally {
      lines.close();
    }
  },
};

/** npm passes Ctrl-C on to a process that the terminal has told already: both are one. */
const sameInterruptMs = 1000;
const interrupted = new AbortController();
let interruptedAt: number | undefined;
function interrupt(): void {
  interruptedAt ??= Date.now();
  // Somebody does not want to wait for what is being finished.
  if (Date.now() - interruptedAt > sameInterruptMs) process.exit(130);
  interrupted.abort();
}
process.on('SIGINT', interrupt);
process.on('SIGTERM', interrupt);

const configHome = env.XDG_CONFIG_HOME ?? join(homedir(), '.config');
const defaultProfile = join(configHome, 'cvmp', 'cvmp.yaml');

async function findProfile(typed: string | undefined): Promise<Profile> {
  const named = typed ?? env.CVMP_PROFILE;
  if (named !== undefined) return readProfile(resolve(named));
  for (const place of ['cvmp.yaml', join('cvmp-data', 'cvmp.yaml'), defaultProfile]) {
    if (await exists(resolve(place))) return readProfile(resolve(place));
  }
  throw new CvmpError('USAGE', 'there is no profile here; run cvmp dev or cvmp tenant init first');
}

let open: ServerApis | undefined;

function context(json: boolean, typed: string | undefined): CommandContext {
  let found: Promise<Profile> | undefined;
  const profile = () => {
    found ??= findProfile(typed);
    return found;
  };
  return {
    terminal,
    json,
    now: Date.now,
    path: (path) => resolve(path),
    signal: interrupted.signal,
    profile,
    profilePath: resolve(typed ?? env.CVMP_PROFILE ?? defaultProfile),
    servers: async () => {
      const known = await profile();
      open ??= serverApis(known, connectByTls, Date.now, { holdToLog: true });
      return open;
    },
  };
}

const packageFile = new URL('../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of our output went away (cvmp ... | head): nothing is left to say.
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await run(argv.slice(2), { terminal, version, context });
open?.close();
