import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import { type ConfigReader, readConfig } from './config/reader.js';
import { type ProcessSignals, untilStopped } from './shutdown.js';

/** A server program: `NAME init|serve --config FILE`. */
export interface Program<C> {
  /** As it is called: "cvmp-key-server". */
  readonly name: string;
  readonly read: (config: ConfigReader) => C;
  /** Further options of init without a value: what each does, by its name. */
  readonly initFlags?: Readonly<Record<string, string>>;
  /** Makes what `serve` needs; refuses to overwrite. Gives lines for the person who called it. */
  readonly init: (config: C, options: InitOptions) => Promise<readonly string[]>;
  /** Starts serving. */
  readonly serve: (config: C) => Promise<Running>;
}

export interface InitOptions {
  /** Host names and addresses for a self-signed TLS certificate; empty: none is made. */
  readonly selfSignedNames: readonly string[];
  /** Those of the program's `initFlags` that were given. */
  readonly flags: ReadonlySet<string>;
}

/** A server that is up. */
export interface Running {
  readonly log: Logger;
  /** Finishes what is under way and closes everything. */
  stop(): Promise<void>;
}

/** The process around a program; main.ts gives the real one. */
export interface ProgramProcess {
  /** Without the interpreter and the script. */
  readonly arguments: readonly string[];
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly signals: ProcessSignals;
  /** Ends the process at once. */
  readonly exit: (code: number) => never;
}

/** @returns the exit code: 0 done, 1 failed, 2 wrong usage */
export async function runProgram<C>(program: Program<C>, process: ProgramProcess): Promise<number> {
  try {
    const command = readCommand(program, process.arguments);
    if (command === undefined) {
      process.stdout(usage(program));
      return 0;
    }
    const { value, printed } = load(command.configFile, program.read);
    if (command.printConfig) process.stdout(printed);
    else if (command.verb === 'init') {
      for (const line of await program.init(value, command)) process.stdout(`${line}\n`);
    } else {
      const running = await program.serve(value);
      await untilStopped(process.signals, running.log, () => process.exit(1));
      await running.stop();
    }
    return 0;
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    process.stderr(`${program.name}: error: ${error.message}\n  hint: ${error.next}\n`);
    return error.code === 'USAGE' ? 2 : 1;
  }
}

interface Command extends InitOptions {
  readonly verb: 'init' | 'serve';
  readonly configFile: string;
  readonly printConfig: boolean;
}

type Named = Pick<Program<unknown>, 'name' | 'initFlags'>;

/** @returns undefined where help is asked. @throws CvmpError USAGE */
function readCommand(program: Named, args: readonly string[]): Command | undefined {
  const flagNames = Object.keys(program.initFlags ?? {});
  const { values, positionals } = parse(args, flagNames);
  if (values.help) return undefined;
  const [verb, ...rest] = positionals;
  const configFile = values.config;
  const known = verb === 'init' || verb === 'serve';
  if (!known || rest.length > 0 || configFile === undefined) {
    throw new CvmpError('USAGE', `wrong usage\n${usage(program)}`);
  }
  const given: Readonly<Record<string, unknown>> = values;
  return {
    verb,
    configFile,
    printConfig: values['print-config'],
    selfSignedNames: values['self-signed'],
    flags: new Set(flagNames.filter((name) => given[name] === true)),
  };
}

function parse(args: readonly string[], flagNames: readonly string[]) {
  const flags = Object.fromEntries(flagNames.map((name) => [name, { type: 'boolean' } as const]));
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...flags,
        config: { type: 'string' },
        'print-config': { type: 'boolean', default: false },
        'self-signed': { type: 'string', multiple: true, default: [] },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (cause) {
    throw new CvmpError('USAGE', (cause as Error).message, { cause });
  }
}

function load<C>(file: string, read: (config: ConfigReader) => C) {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CvmpError('CONFIG', `cannot read ${file}`, { cause });
  }
  return readConfig(text, file, read);
}

function usage({ name, initFlags = {} }: Named): string {
  return [
    'examples:',
    `  ${name} init --config FILE --self-signed localhost   make store, keys and a certificate`,
    `  ${name} serve --config FILE                          serve until SIGTERM or Ctrl-C`,
    `  ${name} serve --config FILE --print-config           show every setting and its reason`,
    '',
    'options:',
    '  --config FILE        configuration, YAML',
    '  --print-config       print the effective configuration and stop',
    '  --self-signed NAME   with init: host name or address for a TLS certificate; repeatable',
    ...Object.entries(initFlags).map(([flag, help]) => `  --${flag.padEnd(18)} with init: ${help}`),
    '',
  ].join('\n');
}
