import type { CaseVerdict } from './judge.js';
import type { FolderVerdict } from './run.js';

/** One line of the table. */
export interface KindSummary {
  readonly kind: string;
  readonly asExpected: number;
  readonly total: number;
  /** Cases that this program cannot judge. */
  readonly notJudged: number;
}

export interface Mismatch {
  readonly kind: string;
  readonly case: string;
  readonly expected: string;
  readonly actual: string;
}

export interface VectorsReport {
  readonly kinds: readonly KindSummary[];
  readonly mismatches: readonly Mismatch[];
  /** Folders of a kind without a judge, and single cases that no judge can judge. */
  readonly notJudged: readonly { readonly kind: string; readonly case: string }[];
}

const place = (folder: string, name: string) => (folder === '.' ? name : `${folder}/${name}`);

export function summarise(verdicts: readonly FolderVerdict[]): VectorsReport {
  const kinds = new Map<string, KindSummary>();
  const mismatches: Mismatch[] = [];
  const notJudged: { kind: string; case: string }[] = [];
  for (const { kind, folder, judged, cases } of verdicts) {
    const before = kinds.get(kind) ?? { kind, asExpected: 0, total: 0, notJudged: 0 };
    const known = cases.filter((c) => c.asExpected !== undefined);
    const good = known.filter((c) => c.asExpected).length;
    const unknown = judged ? cases.length - known.length : 1;
    kinds.set(kind, {
      kind,
      asExpected: before.asExpected + good,
      total: before.total + known.length,
      notJudged: before.notJudged + unknown,
    });
    if (!judged) notJudged.push({ kind, case: folder });
    for (const c of cases) {
      if (c.asExpected === false) mismatches.push({ kind, ...shown(folder, c) });
      if (c.asExpected === undefined) notJudged.push({ kind, case: place(folder, c.name) });
    }
  }
  return { kinds: [...kinds.values()], mismatches, notJudged };
}

function shown(folder: string, c: CaseVerdict): Omit<Mismatch, 'kind'> {
  return { case: place(folder, c.name), expected: c.expected, actual: c.actual };
}

/** For people. */
export function renderText(report: VectorsReport): string {
  const width = Math.max(4, ...report.kinds.map((k) => k.kind.length));
  const lines = report.kinds.map((k) => {
    const judged = k.total === 0 ? '-' : `as expected ${k.asExpected} of ${k.total}`;
    const left = k.notJudged === 0 ? '' : `   not judged ${k.notJudged}`;
    return `${k.kind.padEnd(width)}   ${judged.padEnd(24)}${left}`.trimEnd();
  });
  for (const m of report.mismatches) {
    lines.push(`mismatch: ${m.case}: expected ${m.expected}, got ${m.actual}`);
  }
  for (const n of report.notJudged) lines.push(`not judged: ${n.case} (${n.kind})`);
  const good = report.kinds.reduce((n, k) => n + k.asExpected, 0);
  const total = report.kinds.reduce((n, k) => n + k.total, 0);
  lines.push(`total: as expected ${good} of ${total}`);
  return lines.join('\n');
}
