import type { ServerApis } from './api.js';
import type { Profile } from './profile/profile.js';
import type { Output, Terminal } from './terminal/output.js';

/** One option of a command, as help shows it. */
export interface Option {
  readonly type: 'string' | 'boolean';
  /** May be given more than once. */
  readonly multiple?: boolean;
  /** Name of the value in help, upper case (`FILE`). */
  readonly value?: string;
  /** With units and default. */
  readonly summary: string;
}

export type Options = { readonly [name: string]: Option };

type OptionValue<O extends Option> = O['type'] extends 'boolean'
  ? boolean
  : O extends { readonly multiple: true }
    ? readonly string[]
    : string | undefined;

/** What was typed. */
export interface Arguments<O extends Options> {
  readonly options: { readonly [K in keyof O]: OptionValue<O[K]> };
  /** As many as the command's positionals ask. */
  readonly positionals: readonly string[];
}

/** What a command may touch beside its arguments. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** With --json. */
  readonly json: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Absolute path of a path typed by a person. */
  readonly path: (typed: string) => string;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** The profile in use. @throws CvmpError CONFIG */
  readonly profile: () => Promise<Profile>;
  /** Where a new profile is written when nothing else is said. */
  readonly profilePath: string;
  /** Clients of both servers by the profile in use. */
  readonly servers: () => Promise<ServerApis>;
}

/** A command as the table lists it. */
export interface CommandSpec<O extends Options = Options> {
  /** `cvm create`; one word where the noun has no verbs. */
  readonly name: string;
  readonly summary: string;
  /** Shown first in help; the first is the plainest use. */
  readonly examples: readonly string[];
  /** `NAME`, `[NAME]` where it may be left out, `FILE...` for one or more. */
  readonly positionals?: readonly string[];
  readonly options: O;
  /** More to say in help, in whole sentences. */
  readonly notes?: string;
  readonly run: (args: Arguments<O>, context: CommandContext) => Promise<Output | undefined>;
}

/** A command without its option types: what the table and the parser handle. */
export type Command = Omit<CommandSpec, 'run'> & {
  readonly run: (args: Arguments<Options>, context: CommandContext) => Promise<Output | undefined>;
};

/** Keeps the option names and types of a command literal. */
export function command<const O extends Options>(spec: CommandSpec<O>): Command {
  return spec as unknown as Command;
}
