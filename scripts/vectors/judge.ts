import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

/** What one case was expected to give and what it gave. */
export interface CaseVerdict {
  /** Inside its folder: a file, a negative, a test number. */
  readonly name: string;
  readonly expected: string;
  readonly actual: string;
  /** Undefined: this program cannot judge it (shown, but neither good nor bad). */
  readonly asExpected: boolean | undefined;
}

/**
 * Judges every case of one folder. It reads what is expected from `expected.json`, never from
 * names. What it throws counts as a mismatch of the whole folder.
 */
export type Judge = (folder: CaseFolder) => Promise<readonly CaseVerdict[]>;

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [k: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** A folder with an `expected.json`. */
export class CaseFolder {
  readonly path: string;
  /** Relative to the folder that the run was started on; `.` for itself. */
  readonly name: string;
  readonly expected: JsonObject;

  constructor(path: string, root: string) {
    this.path = path;
    this.name = relative(root, path) || '.';
    this.expected = asObject(parseJson(join(path, 'expected.json')), 'expected.json');
  }

  get kind(): string {
    return asString(this.expected.kind, 'kind');
  }

  has(file: string): boolean {
    return existsSync(join(this.path, file));
  }

  read(file: string): Uint8Array {
    return new Uint8Array(readFileSync(join(this.path, file)));
  }

  readJson(file: string): Json {
    return parseJson(join(this.path, file));
  }

  /**
   * The path of a file that several folders share (`trust-anchors.json`, `chains/x.pem`): looked for
   * here and in each folder above.
   */
  findUpwards(file: string): string | undefined {
    for (let at = resolve(this.path); ; at = dirname(at)) {
      if (existsSync(join(at, file))) return join(at, file);
      if (dirname(at) === at) return undefined;
    }
  }
}

function parseJson(path: string): Json {
  return JSON.parse(readFileSync(path, 'utf8')) as Json;
}

export function asObject(value: Json | undefined, what: string): JsonObject {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new Error(`${what} is not an object`);
  }
  return value as JsonObject;
}

export function asString(value: Json | undefined, what: string): string {
  if (typeof value !== 'string') throw new Error(`${what} is not a text`);
  return value;
}

export function asList(value: Json | undefined, what: string): readonly Json[] {
  if (!Array.isArray(value)) throw new Error(`${what} is not a list`);
  return value as readonly Json[];
}
