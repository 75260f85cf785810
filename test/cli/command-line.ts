import type { ServerApis } from '#cli/api.js';
import type { CommandContext } from '#cli/command.js';
import type { Profile } from '#cli/profile/profile.js';
import { run } from '#cli/program.js';
import { CvmpError } from '#core/errors.js';
import { type RecordedTerminal, recordedTerminal } from './terminal.js';

export interface CommandLineOptions {
  /** Answers to questions; where given, a person is at the terminal. */
  readonly answers?: readonly string[];
  readonly servers?: ServerApis;
  readonly profile?: Profile;
  readonly profilePath?: string;
  /** Milliseconds since the epoch. */
  readonly now?: number;
  readonly signal?: AbortSignal;
}

export interface CommandLineResult {
  readonly code: number;
  readonly terminal: RecordedTerminal;
  /** stdout as JSON. */
  readonly json: () => Record<string, unknown>;
}

/** Runs one command line inside this process, with fakes for what is not given. */
export async function commandLine(
  argv: readonly string[],
  options: CommandLineOptions = {},
): Promise<CommandLineResult> {
  const terminal = recordedTerminal(options.answers);
  const absent = (what: string) => async () => {
    throw new CvmpError('USAGE', `no ${what} in this test`);
  };
  const context = (json: boolean): CommandContext => ({
    terminal,
    json,
    now: () => options.now ?? 1_800_000_000_000,
    path: (path) => path,
    signal: options.signal ?? new AbortController().signal,
    profile: options.profile === undefined ? absent('profile') : async () => options.profile!,
    profilePath: options.profilePath ?? '/nowhere/cvmp.yaml',
    servers: options.servers === undefined ? absent('servers') : async () => options.servers!,
  });
  const code = await run(argv, { terminal, version: '0.0.0', context });
  return { code, terminal, json: () => JSON.parse(terminal.stdout) as Record<string, unknown> };
}
