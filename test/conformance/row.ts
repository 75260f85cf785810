import type { ErrorCode } from '#core/errors.js';

/**
 * One thing that a format or this protocol says must be so: where it says it, what in our words,
 * the test that shows it (as its title, or its row's label, stands in the file), and the codes that
 * a breach ends in.
 */
export type Row = readonly [
  section: string,
  must: string,
  test: string,
  ...codes: readonly ErrorCode[],
];

/** The rules of one format, by the file of their tests (a path inside `test/`). */
export interface Conformance {
  readonly title: string;
  /** What the sections are of. */
  readonly of: string;
  readonly tests: Readonly<Record<string, readonly Row[]>>;
}
