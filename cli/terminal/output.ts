/**
 * The rules of this command's output:
 * - data goes to stdout, everything else to stderr;
 * - an error is `cvmp: error: CODE message`, followed by `hint: ` and what to do next;
 * - with --json stdout carries one JSON document, also for an error: {"error": {...}};
 * - tables are for people; scripts take --json, whose fields do not change;
 * - colour and questions only on a terminal, no colour where NO_COLOR is set.
 */
import type { Readable } from './readable.js';

/** Where output goes and what it can show. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Colour is wanted on stdout. */
  readonly colour: boolean;
  /** Both ends are a person at a terminal. */
  readonly interactive: boolean;
  /** Asks on stderr and reads one line from stdin. */
  readonly ask: (question: string) => Promise<string>;
}

/** Like {@link Readable}, with absent values as null. */
export type Json = Readable | null | readonly Json[] | { readonly [key: string]: Json | undefined };

/** What a command has to say: the same for scripts and for people. */
export interface Output {
  readonly json: Json;
  /** Lines for people, without the last line break. */
  readonly text: string;
  /** 1 where the answer is a refusal; 0 unless said. */
  readonly exitCode?: 0 | 1;
}

/** JSON text. Every 64-bit integer is a decimal string, as in Protobuf's own JSON form. */
export function jsonText(value: Json, indent?: number): string {
  return JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? v.toString() : v), indent);
}

/** Columns wide enough for their cells; no borders, so that cut and awk work too. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)].join('\n');
}

/** `name: value` lines with the values in one column. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs
    .map(([name, value]) => `${`${name}:`.padEnd(width + 2)}${value}`.trimEnd())
    .join('\n');
}

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** Marks up text where the terminal shows colour. */
export function paint(terminal: Terminal, style: keyof typeof codes, text: string): string {
  return terminal.colour ? `\u001b[${codes[style]}m${text}\u001b[0m` : text;
}

/** An error as people and scripts see it. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly hint?: string;
  readonly requestId?: string;
}

/** Writes an error by the rules above. */
export function writeError(terminal: Terminal, report: ErrorReport, json: boolean): void {
  const { code, message, field } = report;
  const where = field === undefined || message.includes(field) ? '' : ` (${field})`;
  terminal.err(`${paint(terminal, 'red', 'cvmp: error:')} ${code} ${message}${where}\n`);
  if (report.hint !== undefined) terminal.err(`hint: ${report.hint}\n`);
  if (json) {
    const error = { code, message, field, hint: report.hint, request_id: report.requestId };
    terminal.out(`${jsonText({ error }, 2)}\n`);
  }
}
