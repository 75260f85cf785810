import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import { type Config, type ConfigReader, readConfig } from './config/reader.js';
import { createReload, type Reloaded } from './process/reload.js';
import { createServiceManager, type ServiceEnvironment } from './process/service-manager.js';
import { type ProcessSignals, untilStopped } from './process/shutdown.js';
import type { SecretInput } from './secret-input.js';

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
  readonly serve: (config: C, control: Control) => Promise<Running<C>>;
  /** What else it can be told, by two words: "endorsements list". */
  readonly commands?: Readonly<Record<string, ProgramCommand<C>>>;
}

/** Something that a program does once, and ends. */
export interface ProgramCommand<C> {
  readonly summary: string;
  /** Options with a value, each repeatable: what each means, by its name. */
  readonly options?: Readonly<Record<string, string>>;
  /** Options without a value: what each does, by its name. */
  readonly flags?: Readonly<Record<string, string>>;
  /** What its positionals are ("FILE..."); absent: it takes none. */
  readonly positionals?: string;
  /** Gives lines for the person who called it. */
  readonly run: (config: C, given: CommandArguments) => Promise<readonly string[]>;
}

export interface CommandArguments extends Dialog {
  readonly positionals: readonly string[];
  /** Values of an option; none where it was not given. */
  readonly option: (name: string) => readonly string[];
  /** Whether an option without a value was given. */
  readonly flag: (name: string) => boolean;
}

/** How a command speaks with the person who called it, while it runs. */
export interface Dialog extends SecretInput {
  /** One line on the standard output. */
  readonly print: (line: string) => void;
  /** One line about how far it is, on the standard error. */
  readonly progress: (line: string) => void;
}

export interface InitOptions extends Dialog {
  /** Host names and addresses for a self-signed TLS certificate; empty: none is made. */
  readonly selfSignedNames: readonly string[];
  /** Those of the program's `initFlags` that were given. */
  readonly flags: ReadonlySet<string>;
}

/** What a server may ask of the program around it. */
export interface Control {
  /**
   * Reads the configuration file again and takes over what may change.
   * @throws CvmpError CONFIG; then nothing has changed
   */
  readonly reload: () => Promise<Reloaded>;
}

/** A server that is up. */
export interface Running<C> {
  readonly log: Logger;
  /** Takes over what may change; all of it or, thrown, nothing. @throws CvmpError CONFIG */
  apply(config: C): void | Promise<void>;
  /** How it is, for the service manager; absent: serving. */
  status?(): string;
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
  /** Where secrets are entered: the standard input, or another descriptor. */
  readonly secrets: (descriptor: number | undefined) => SecretInput;
  /** Of the service manager; absent: there is none. */
  readonly service?: ServiceEnvironment;
  /** Ends the process at once. */
  readonly exit: (code: number) => never;
}

/** @returns the exit code: 0 done, 1 failed, 2 wrong usage */
export async function runProgram<C>(program: Program<C>, process: ProgramProcess): Promise<number> {
  try {
    const command = readCommand(program, process);
    if (command === undefined) {
      process.stdout(usage(program));
      return 0;
    }
    const config = load(command.configFile, program.read);
    const { value, printed } = config;
    const print = (lines: readonly string[]) => {
      for (const line of lines) process.stdout(`${line}\n`);
    };
    const once = program.commands?.[command.verb];
    if (command.printConfig) process.stdout(printed);
    else if (once !== undefined) print(await once.run(value, command.given));
    else if (command.verb === 'init') print(await program.init(value, command));
    else await serve(program, config, command.configFile, process);
    return 0;
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    process.stderr(`${program.name}: error: ${error.message}\n  hint: ${error.next}\n`);
    return error.code === 'USAGE' ? 2 : 1;
  }
}

/** Serves until a signal says stop; SIGHUP reloads. */
async function serve<C>(
  program: Program<C>,
  config: Config<C>,
  file: string,
  { signals, exit, service = noService }: ProgramProcess,
): Promise<void> {
  let reload: () => Promise<Reloaded> = () => {
    throw new CvmpError('UNAVAILABLE', 'the server is still starting');
  };
  // What is wrong with a new file is in the log.
  signals.on('SIGHUP', () => void control.reload().catch(() => undefined));
  const control: Control = { reload: async () => reload() };
  const running = await program.serve(config.value, control);
  const { log } = running;
  const manager = createServiceManager(service, log);
  const takeOver = createReload({
    load: () => load(file, program.read),
    current: config,
    apply: (value) => running.apply(value),
    log,
  });
  const ready = () => manager.ready(running.status?.() ?? 'serving');
  reload = () => {
    manager.reloading();
    return takeOver().finally(ready);
  };
  ready();
  await untilStopped(signals, log, () => exit(1));
  manager.stopping();
  await running.stop();
  manager.close();
}

const noService: ServiceEnvironment = { notifySocket: undefined, watchdogMicroseconds: undefined };

interface Command extends InitOptions {
  /** init, serve, or the two words of another command. */
  readonly verb: string;
  readonly configFile: string;
  readonly printConfig: boolean;
  readonly given: CommandArguments;
}

type Named = Pick<Program<never>, 'name' | 'initFlags' | 'commands'>;

/** @returns undefined where help is asked. @throws CvmpError USAGE */
function readCommand(program: Named, process: ProgramProcess): Command | undefined {
  const { arguments: args, stdout, stderr } = process;
  const initFlagNames = Object.keys(program.initFlags ?? {});
  const commands = program.commands ?? {};
  const optionNames = Object.values(commands).flatMap(({ options = {} }) => Object.keys(options));
  const flagNames = Object.values(commands).flatMap(({ flags = {} }) => Object.keys(flags));
  const { values, positionals } = parse(args, [...initFlagNames, ...flagNames], optionNames);
  if (values.help) return undefined;
  const words = commands[positionals.slice(0, 2).join(' ')] === undefined ? 1 : 2;
  const verb = positionals.slice(0, words).join(' ');
  const rest = positionals.slice(words);
  const configFile = values.config;
  const once = commands[verb];
  const known = verb === 'init' || verb === 'serve' || once !== undefined;
  const given: Readonly<Record<string, unknown>> = values;
  const isForeign = (name: string, own: object | undefined) =>
    given[name] !== undefined && (own === undefined || !Object.hasOwn(own, name));
  const foreign =
    optionNames.some((name) => isForeign(name, once?.options)) ||
    (once !== undefined && initFlagNames.some((name) => isForeign(name, once.flags))) ||
    flagNames.some((name) => isForeign(name, once?.flags ?? program.initFlags));
  const tooMany = rest.length > 0 && once?.positionals === undefined;
  if (!known || tooMany || foreign || configFile === undefined) {
    throw new CvmpError('USAGE', `wrong usage\n${usage(program)}`);
  }
  const secrets = process.secrets(descriptorOf(values['secret-fd']));
  const dialog: Dialog = {
    print: (line) => stdout(`${line}\n`),
    progress: (line) => stderr(`${line}\n`),
    readSecret: (prompt) => secrets.readSecret(prompt),
  };
  return {
    ...dialog,
    verb,
    configFile,
    printConfig: values['print-config'],
    selfSignedNames: values['self-signed'],
    flags: new Set(initFlagNames.filter((name) => given[name] === true)),
    given: {
      ...dialog,
      positionals: rest,
      option: (name) => [given[name] ?? []].flat().map(String),
      flag: (name) => given[name] === true,
    },
  };
}

function parse(
  args: readonly string[],
  flagNames: readonly string[],
  optionNames: readonly string[],
) {
  const flags = Object.fromEntries(flagNames.map((name) => [name, { type: 'boolean' } as const]));
  const valued = Object.fromEntries(
    optionNames.map((name) => [name, { type: 'string', multiple: true } as const]),
  );
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...flags,
        ...valued,
        config: { type: 'string' },
        'secret-fd': { type: 'string' },
        'print-config': { type: 'boolean', default: false },
        'self-signed': { type: 'string', multiple: true, default: [] },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (cause) {
    throw new CvmpError('USAGE', (cause as Error).message, { cause });
  }
}

/** @throws CvmpError USAGE */
function descriptorOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,4}$/.test(text)) throw new CvmpError('USAGE', '--secret-fd is a number');
  return Number(text);
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

function usage({ name, initFlags = {}, commands = {} }: Named): string {
  return [
    'examples:',
    `  ${name} init --config FILE --self-signed localhost   make store, keys and a certificate`,
    `  ${name} serve --config FILE                          serve until SIGTERM or Ctrl-C; SIGHUP reloads`,
    `  ${name} serve --config FILE --print-config           show every setting and its reason`,
    ...Object.entries(commands).flatMap(
      ([verb, { summary, options = {}, flags = {}, positionals }]) => {
        const values = Object.entries(options).map(([option, help]) => `[--${option} ${help}]...`);
        const marks = Object.keys(flags).map((flag) => `[--${flag}]`);
        const words = [name, verb, '--config FILE', ...values, ...marks, positionals].filter(
          Boolean,
        );
        return [`  ${words.join(' ')}`, `      ${summary}`];
      },
    ),
    '',
    'options:',
    '  --config FILE        configuration, YAML',
    '  --print-config       print the effective configuration and stop',
    '  --secret-fd N        read secrets from this open file descriptor, not the standard input',
    '  --self-signed NAME   with init: host name or address for a TLS certificate; repeatable',
    ...Object.entries(initFlags).map(([flag, help]) => `  --${flag.padEnd(18)} with init: ${help}`),
    '',
  ].join('\n');
}
