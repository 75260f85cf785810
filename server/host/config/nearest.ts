/** The name that somebody meant who wrote another one; undefined where none is close. */
export function nearest(name: string, names: Iterable<string>): string | undefined {
  const [closest] = [...names]
    .map((known) => ({ known, far: distance(name, known) }))
    .sort((a, b) => a.far - b.far);
  return closest !== undefined && closest.far <= Math.max(2, name.length / 3)
    ? closest.known
    : undefined;
}

/** Letters to add, drop, change or swap. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
