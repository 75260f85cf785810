/** One measured figure of a claim. */
export interface Figure {
  readonly name: string;
  /** Against what the claim compares with; the absolute values are this machine's of this minute. */
  readonly ratio: number;
  /** What `ratio` must reach, where something is promised. */
  readonly mark?: number;
  /** What `ratio` must not exceed, where something is promised. */
  readonly most?: number;
  /** Absolute values by name; the name ends in the unit. */
  readonly values: Readonly<Record<string, number>>;
}

/** A claim and its figures. */
export interface Claim {
  readonly title: string;
  /** What a ratio is here, in one line. */
  readonly ratioOf: string;
  readonly figures: readonly Figure[];
}

const digits = (value: number) => {
  if (value === 0) return '-';
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
};

const digitsOf = (value: number | undefined) => (value === undefined ? '' : digits(value));

function markText({ ratio, mark, most }: Figure): string {
  if (mark !== undefined) return `${mark} ${ratio >= mark ? 'ok' : 'MISSED'}`;
  return most === undefined ? '' : `<= ${most} ${ratio <= most ? 'ok' : 'MISSED'}`;
}

/** For people: ratios first. */
export function claimText({ title, ratioOf, figures }: Claim): string {
  const columns = [...new Set(figures.flatMap(({ values }) => Object.keys(values)))];
  const header = ['ratio', 'mark', '', ...columns.map((name) => name.replaceAll('_', ' '))];
  const rows = figures.map((figure) => [
    figure.ratio.toFixed(2),
    markText(figure),
    figure.name,
    ...columns.map((column) => digitsOf(figure.values[column])),
  ]);
  const all = [header, ...rows];
  const widths = header.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  const lines = all.map((row) =>
    row
      .map((cell, i) => (i === 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  return [title, `ratio: ${ratioOf}`, '', ...lines.map((line) => `  ${line}`), ''].join('\n');
}
