/**
 * How well a policy's name pattern covers the name of a CVM: longer is better, and an exact name
 * beats every pattern. undefined: not at all. A trailing `*` stands for any rest, also none.
 */
export function coverage(pattern: string, cvmName: string): number | undefined {
  if (!pattern.endsWith('*')) {
    return pattern === cvmName ? Number.POSITIVE_INFINITY : undefined;
  }
  const stem = pattern.slice(0, -1);
  return cvmName.startsWith(stem) ? stem.length : undefined;
}

/** The candidate with the pattern that covers `cvmName` best; undefined where none does. */
export function bestCoverage<T extends { readonly cvmNames: readonly string[] }>(
  candidates: Iterable<T>,
  cvmName: string,
): T | undefined {
  let best: T | undefined;
  let most = -1;
  for (const candidate of candidates) {
    for (const pattern of candidate.cvmNames) {
      const length = coverage(pattern, cvmName);
      if (length !== undefined && length > most) {
        best = candidate;
        most = length;
      }
    }
  }
  return best;
}
