import { parseArgs } from 'node:util';
import { CvmpError } from '#core/errors.js';
import { errorReport } from './api.js';
import type { Command, CommandContext, Option, Options } from './command.js';
import { commands } from './commands.js';
import { jsonText, type Terminal, writeError } from './terminal/output.js';

/** Options of every command. */
const everywhere = {
  json: { type: 'boolean', summary: 'Print one JSON document; its fields do not change.' },
  profile: {
    type: 'string',
    value: 'FILE',
    summary:
      'Profile; else CVMP_PROFILE, ./cvmp.yaml, ./cvmp-data/cvmp.yaml, ~/.config/cvmp/cvmp.yaml.',
  },
  help: { type: 'boolean', summary: 'Show this.' },
} as const satisfies Options;

/** What the program needs to make a command's context. */
export interface Host {
  readonly terminal: Terminal;
  readonly version: string;
  readonly context: (json: boolean, profile: string | undefined) => CommandContext;
}

/** Runs one command line. @returns the exit code: 0 done, 1 refused or failed, 2 wrong usage */
export async function run(argv: readonly string[], host: Host): Promise<0 | 1 | 2> {
  const { terminal } = host;
  const json = argv.includes('--json');
  let help = 'cvmp --help';
  try {
    const asked = helpAsked(argv, host.version);
    if (asked !== undefined) {
      terminal.out(`${asked}\n`);
      return 0;
    }
    const { command, rest } = findCommand(argv);
    help = `cvmp ${command.name} --help`;
    const { options, positionals } = parse(command, rest);
    if (options.help === true) {
      terminal.out(`${commandHelp(command)}\n`);
      return 0;
    }
    const context = host.context(json, options.profile as string | undefined);
    const output = await command.run({ options: options as never, positionals }, context);
    if (output === undefined) return 0;
    terminal.out(json ? `${jsonText(output.json, 2)}\n` : `${output.text}\n`);
    return output.exitCode ?? 0;
  } catch (error) {
    const report = errorReport(error);
    const isUsage = report.code === 'USAGE';
    const vague = isUsage && !(error instanceof UsageError);
    writeError(terminal, vague ? { ...report, hint: `see ${help}` } : report, json);
    return isUsage ? 2 : 1;
  }
}

function helpAsked(argv: readonly string[], version: string): string | undefined {
  const [first, ...rest] = argv;
  if (first === '--version') return `cvmp ${version}`;
  if (first === '--help' || (first === 'help' && rest.length === 0)) return overview();
  if (first === 'help') return nounHelp(rest.join(' '));
  if (rest[0] === '--help' && !commands.some((c) => c.name === first)) return nounHelp(first!);
  return undefined;
}

/** The command that the first one to three words name. @throws CvmpError USAGE */
function findCommand(argv: readonly string[]): {
  readonly command: Command;
  readonly rest: readonly string[];
} {
  for (const words of [3, 2, 1]) {
    const name = argv.slice(0, words).join(' ');
    const command = commands.find((c) => c.name === name);
    if (command !== undefined) return { command, rest: argv.slice(words) };
  }
  const [noun, verb] = argv;
  if (noun === undefined || noun.startsWith('-')) {
    throw usage(noun === undefined ? 'no command' : `no command before ${noun}`, 'cvmp --help');
  }
  const verbs = commands.filter((c) => c.name.startsWith(`${noun} `)).map((c) => c.name);
  if (verbs.length === 0) {
    const nouns = [...new Set(commands.map((c) => c.name.split(' ')[0]!))];
    throw usage(`there is no command ${noun}${didYouMean(noun, nouns)}`, 'cvmp --help');
  }
  const known = verbs.map((name) => name.slice(noun.length + 1));
  const what = verb === undefined || verb.startsWith('-') ? 'needs a verb' : `has no ${verb}`;
  throw usage(
    `${noun} ${what}${didYouMean(verb ?? '', known)}; it has ${known.join(', ')}`,
    `cvmp help ${noun}`,
  );
}

/** A usage error whose hint is the help to read. */
class UsageError extends CvmpError {
  readonly #help: string;

  constructor(message: string, help: string) {
    super('USAGE', message);
    this.#help = help;
  }

  override get next(): string {
    return `see ${this.#help}`;
  }
}

function usage(message: string, help: string): UsageError {
  return new UsageError(message, help);
}

function didYouMean(typed: string, known: readonly string[]): string {
  // Of words equally near the one that starts alike: most slips are further in.
  const strangeness = (word: string) => distance(typed, word) * 2 + (word[0] === typed[0] ? 0 : 1);
  const [near] = known
    .filter((word) => typed !== '' && distance(typed, word) <= 2)
    .sort((x, y) => strangeness(x) - strangeness(y));
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/** Edit distance; both words are short. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** @throws CvmpError USAGE */
function parse(command: Command, argv: readonly string[]) {
  const help = `cvmp ${command.name} --help`;
  const specs: Options = { ...command.options, ...everywhere };
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, o]) => [
      name,
      { type: o.type, multiple: o.multiple ?? false },
    ]),
  );
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (cause) {
    // Node's message ends in a second sentence about positionals; the first says it all.
    const [message] = (cause as Error).message.split(/\. /);
    throw usage(message!.replace(/\.$/, ''), help);
  }
  const values: Record<string, unknown> = {};
  for (const [name, o] of Object.entries(specs)) {
    values[name] =
      parsed.values[name] ?? (o.type === 'boolean' ? false : o.multiple ? [] : undefined);
  }
  if (values.help !== true) countPositionals(command, parsed.positionals, help);
  return { options: values, positionals: parsed.positionals };
}

function countPositionals(command: Command, given: readonly string[], help: string): void {
  const named = command.positionals ?? [];
  const required = named.filter((name) => !name.startsWith('['));
  if (given.length < required.length) throw usage(`${required[given.length]} is missing`, help);
  const many = named.some((name) => name.includes('...'));
  if (!many && given.length > named.length) {
    throw usage(`what is ${given[named.length]} for?`, help);
  }
}

/** All commands, one line each. */
export function overview(): string {
  const width = Math.max(...commands.map((c) => c.name.length));
  return [
    'Confidential VMs that prove what they are before they get their keys.',
    '',
    'Examples:',
    '  cvmp dev                               everything on this machine, simulated',
    '  cvmp feature list                      what the platform offers',
    '  cvmp cvm create web --image sample-v1  a CVM, its measurement recomputed here',
    '  cvmp evidence verify report.bin --cert vcek.der --cert ask.der',
    '',
    'Commands:',
    ...commands.map((c) => `  ${c.name.padEnd(width)}  ${c.summary}`),
    '',
    'Every command takes --help, --json and --profile FILE.',
    'Exit codes: 0 done, 1 refused or failed, 2 wrong usage.',
  ].join('\n');
}

function nounHelp(name: string): string {
  const exact = commands.find((c) => c.name === name);
  if (exact !== undefined) return commandHelp(exact);
  const found = commands.filter((c) => c.name.startsWith(`${name} `));
  if (found.length === 0) throw usage(`there is no command ${name}`, 'cvmp --help');
  const width = Math.max(...found.map((c) => c.name.length));
  return found.map((c) => `cvmp ${c.name.padEnd(width)}  ${c.summary}`).join('\n');
}

/** Examples first, then options. */
export function commandHelp(command: Command): string {
  const synopsis = ['cvmp', command.name, ...(command.positionals ?? [])].join(' ');
  const optionLines = Object.entries({ ...command.options, ...everywhere }).map(
    ([name, option]: [string, Option]) => {
      const value = option.type === 'string' ? ` ${option.value ?? 'VALUE'}` : '';
      return [`--${name}${value}${option.multiple ? ' ...' : ''}`, option.summary] as const;
    },
  );
  const width = Math.max(...optionLines.map(([left]) => left.length));
  return [
    command.summary,
    '',
    'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
    `Usage: ${synopsis} [options]`,
    ...optionLines.map(([left, summary]) => `  ${left.padEnd(width)}  ${summary}`),
    ...(command.notes === undefined ? [] : ['', command.notes]),
  ].join('\n');
}
