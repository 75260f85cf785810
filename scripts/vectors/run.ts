import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CaseFolder, type CaseVerdict, type Judge } from './judge.js';

/** One judged folder. */
export interface FolderVerdict {
  readonly folder: string;
  readonly kind: string;
  /** False where no judge knows the kind. */
  readonly judged: boolean;
  readonly cases: readonly CaseVerdict[];
}

/** Every folder at or below `root` that has an `expected.json`, in order of their names. */
export function caseFolders(root: string): string[] {
  const found: string[] = [];
  const visit = (path: string): void => {
    if (existsSync(join(path, 'expected.json'))) found.push(path);
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) visit(join(path, entry.name));
    }
  };
  if (statSync(root).isDirectory()) visit(root);
  return found.sort();
}

/** Judges all folders; a folder that cannot be judged at all is one mismatch. */
export async function judgeAll(
  root: string,
  judges: ReadonlyMap<string, Judge>,
): Promise<FolderVerdict[]> {
  const verdicts: FolderVerdict[] = [];
  for (const path of caseFolders(root)) verdicts.push(await judgeFolder(path, root, judges));
  return verdicts;
}

async function judgeFolder(
  path: string,
  root: string,
  judges: ReadonlyMap<string, Judge>,
): Promise<FolderVerdict> {
  let folder: CaseFolder;
  try {
    folder = new CaseFolder(path, root);
    const { kind, name } = folder;
    const judge = judges.get(kind);
    if (judge === undefined) return { folder: name, kind, judged: false, cases: [] };
    try {
      return { folder: name, kind, judged: true, cases: await judge(folder) };
    } catch (error) {
      return { folder: name, kind, judged: true, cases: [broken(error)] };
    }
  } catch (error) {
    return { folder: path, kind: '(unreadable)', judged: true, cases: [broken(error)] };
  }
}

function broken(error: unknown): CaseVerdict {
  return {
    name: '(folder)',
    expected: 'a folder that can be judged',
    actual: String(error),
    asExpected: false,
  };
}
