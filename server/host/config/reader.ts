import { dirname, resolve } from 'node:path';
import { Document, parseDocument, Scalar, type YAMLMap } from 'yaml';
import { CvmpError } from '#core/errors.js';
import { nearest } from './nearest.js';

interface Default<T> {
  readonly default: T;
  /** Why this value: `--print-config` says it beside the value. */
  readonly why: string;
}

interface Rule<T> extends Partial<Default<T>> {
  /** A running server takes a new value over when it reloads. */
  readonly live?: true;
}

interface IntegerRule {
  readonly min: number;
  /** Every limit is finite. */
  readonly max: number;
}

interface Line {
  readonly key: string;
  readonly value: unknown;
  readonly why: string | undefined;
  readonly live: boolean;
}

/** A setting by its full name: `grpc.limits.idle_seconds`. */
export interface Setting {
  readonly value: unknown;
  /** A running server takes a new value over when it reloads. */
  readonly live: boolean;
}

/** A configuration as read: values for the program, and what `--print-config` shows. */
export interface Config<T> {
  readonly value: T;
  /** The effective values as YAML, each default with its reason. */
  readonly printed: string;
  readonly settings: ReadonlyMap<string, Setting>;
}

const textMax = 4096;
const bytesMax = 1024 * 1024;

/**
 * Reads one YAML file into a frozen value. A key that `read` does not ask for is refused.
 * @param file path of the file; relative paths inside it are taken from its folder
 * @throws CvmpError CONFIG naming the entry (`grpc.limits.message_bytes_max`)
 */
export function readConfig<T>(
  text: string,
  file: string,
  read: (config: ConfigReader) => T,
): Config<T> {
  if (text.length > bytesMax) throw new CvmpError('CONFIG', `${file} is too long`);
  const reader = new ConfigReader(parseYaml(text, file) ?? {}, '', dirname(file));
  const value = read(reader);
  reader.end();
  return { value: freeze(value), printed: reader.print(), settings: new Map(reader.settings()) };
}

function parseYaml(text: string, file: string): unknown {
  const document = parseDocument(text, { uniqueKeys: true, strict: true });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw new CvmpError('CONFIG', `${file}: ${problem.message}`);
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new CvmpError('CONFIG', `${file}: ${(cause as Error).message}`, { cause });
  }
}

/** One mapping of a configuration file. */
export class ConfigReader {
  readonly #values: Record<string, unknown>;
  readonly #path: string;
  readonly #folder: string;
  readonly #lines: Line[] = [];

  constructor(values: unknown, path: string, folder: string) {
    if (typeof values !== 'object' || values === null || Array.isArray(values)) {
      const what = path === '' ? 'the configuration' : path;
      throw new CvmpError('CONFIG', `${what} is not a mapping`, { field: path });
    }
    this.#values = values as Record<string, unknown>;
    this.#path = path;
    this.#folder = folder;
  }

  text(key: string, rule: Rule<string> & { pattern?: RegExp } = {}): string {
    return this.#read(key, rule, 'a text', (value) =>
      typeof value === 'string' && value.length <= textMax && (rule.pattern?.test(value) ?? true)
        ? value
        : undefined,
    );
  }

  /** A whole number; its unit is in its key. */
  integer(key: string, rule: Rule<number> & IntegerRule): number {
    return this.#read(key, rule, `a whole number from ${rule.min} to ${rule.max}`, (value) =>
      Number.isSafeInteger(value) && Number(value) >= rule.min && Number(value) <= rule.max
        ? Number(value)
        : undefined,
    );
  }

  boolean(key: string, rule: Rule<boolean> = {}): boolean {
    return this.#read(key, rule, 'true or false', (value) =>
      typeof value === 'boolean' ? value : undefined,
    );
  }

  choice<T extends string>(key: string, choices: readonly T[], rule: Rule<T> = {}): T {
    return this.#read(key, rule, `one of ${choices.join(', ')}`, (value) =>
      choices.find((choice) => choice === value),
    );
  }

  texts(key: string, rule: Rule<readonly string[]> & { max: number }): readonly string[] {
    return this.#read(key, rule, `a list of at most ${rule.max} texts`, (value) =>
      Array.isArray(value) && value.length <= rule.max && value.every(isText) ? value : undefined,
    );
  }

  /** An absolute path; relative ones are taken from the folder of the configuration file. */
  path(key: string, rule: Rule<string> = {}): string {
    return resolve(this.#folder, this.text(key, rule));
  }

  /** A path that may be left out or empty; undefined then. */
  optionalPath(key: string, why: string, live: { live?: true } = {}): string | undefined {
    const text = this.text(key, { default: '', why, ...live });
    return text === '' ? undefined : resolve(this.#folder, text);
  }

  paths(key: string, rule: Rule<readonly string[]> & { max: number }): readonly string[] {
    return this.texts(key, rule).map((path) => resolve(this.#folder, path));
  }

  has(key: string): boolean {
    return this.#values[key] !== undefined && this.#values[key] !== null;
  }

  /** A mapping inside this one; absent, all of its entries take their defaults. */
  section<T>(key: string, read: (section: ConfigReader) => T): T {
    const reader = new ConfigReader(this.#values[key] ?? {}, this.name(key), this.#folder);
    const value = read(reader);
    reader.end();
    this.#lines.push({ key, value: reader.#lines, why: undefined, live: false });
    return value;
  }

  /** A mapping of names to mappings, in the order of the file; absent, there are none. */
  sections<T>(
    key: string,
    rule: { readonly max: number; readonly why: string; readonly live?: true },
    read: (section: ConfigReader) => T,
  ): T[] {
    const { max, why, live = false } = rule;
    const names = Object.keys(this.#values[key] ?? {});
    if (names.length === 0) {
      this.#lines.push({ key, value: {}, why: `default: ${why}`, live });
      return [];
    }
    if (names.length > max) {
      const field = this.name(key);
      throw new CvmpError('CONFIG', `${field} has more than ${max} entries`, { field });
    }
    const values = this.section(key, (section) => names.map((name) => section.section(name, read)));
    const line = this.#lines.pop();
    if (line !== undefined) this.#lines.push({ ...line, live });
    return values;
  }

  /** The entries that the file has here, for mappings whose keys are names. */
  keys(): readonly string[] {
    return Object.keys(this.#values);
  }

  /** The full name of an entry, as errors give it. */
  name(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }

  /** @throws CvmpError CONFIG where an entry was never asked for */
  end(): void {
    const known = new Set(this.#lines.map((line) => line.key));
    const unknown = Object.keys(this.#values).find((key) => !known.has(key));
    if (unknown !== undefined) {
      const field = this.name(unknown);
      const meant = nearest(unknown, known);
      const hint = meant === undefined ? '' : `; did you mean ${this.name(meant)}?`;
      throw new CvmpError('CONFIG', `${field} is no entry of this file${hint}`, { field });
    }
  }

  /** Every entry that was asked for, those of sections too. */
  *settings(): Iterable<readonly [string, Setting]> {
    yield* settingsOf(this.#lines, '');
  }

  print(): string {
    const document = new Document({});
    document.contents = mapping(document, this.#lines) as never;
    return document.toString();
  }

  #read<T>(key: string, rule: Rule<T>, what: string, accept: (value: unknown) => T | undefined): T {
    const field = this.name(key);
    const given = this.#values[key];
    const live = rule.live === true;
    if (given === undefined || given === null) {
      if (rule.default === undefined) {
        throw new CvmpError('CONFIG', `${field} is missing: ${what}`, { field });
      }
      this.#lines.push({ key, value: rule.default, why: `default: ${rule.why}`, live });
      return rule.default;
    }
    const value = accept(given);
    if (value === undefined) throw new CvmpError('CONFIG', `${field} is not ${what}`, { field });
    this.#lines.push({ key, value, why: undefined, live });
    return value;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= textMax;
}

/** @param all everything below is live */
function* settingsOf(
  lines: readonly Line[],
  path: string,
  all = false,
): Iterable<readonly [string, Setting]> {
  for (const { key, value, live } of lines) {
    const name = `${path}${key}`;
    if (isSection(value)) yield* settingsOf(value, `${name}.`, all || live);
    else yield [name, { value, live: all || live }];
  }
}

function mapping(document: Document, lines: readonly Line[]): YAMLMap {
  const map = document.createNode({}) as YAMLMap;
  map.flow = false;
  for (const { key, value, why, live } of lines) {
    const node = isSection(value) ? mapping(document, value) : document.createNode(value);
    const notes = [why, live ? 'reloadable' : undefined].filter((note) => note !== undefined);
    const note = notes.length === 0 ? undefined : ` ${notes.join('; ')}`;
    if (note !== undefined && node instanceof Scalar) node.comment = note;
    const pair = document.createPair(key, node);
    if (note !== undefined && !(node instanceof Scalar)) (pair.key as Scalar).commentBefore = note;
    map.items.push(pair);
  }
  return map;
}

function isSection(value: unknown): value is readonly Line[] {
  return Array.isArray(value) && value.some((item) => isLine(item));
}

function isLine(item: unknown): item is Line {
  return typeof item === 'object' && item !== null && 'key' in item && 'why' in item;
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
    for (const inner of Object.values(value)) freeze(inner);
    Object.freeze(value);
  }
  return value;
}
