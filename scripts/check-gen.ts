// Fails unless gen/ is exactly what buf writes from proto/.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

function filesOf(folder: string): Map<string, string> {
  const out = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    out.set(path.slice(folder.length + 1), readFileSync(path, 'utf8'));
  }
  return out;
}

const scratch = mkdtempSync(join(tmpdir(), 'cvmp-gen-'));
try {
  execFileSync('npx', ['--no-install', 'buf', 'generate', '--output', scratch], {
    stdio: 'inherit',
  });
  const [fresh, committed] = [filesOf(join(scratch, 'gen')), filesOf('gen')];
  const names = new Set([...fresh.keys(), ...committed.keys()]);
  const differing = [...names].filter((name) => fresh.get(name) !== committed.get(name));
  if (differing.length > 0) {
    process.stderr.write(
      `gen/ is not what buf writes from proto/: ${differing.join(', ')}\nhint: npm run gen\n`,
    );
    process.exitCode = 1;
  } else {
    process.stdout.write(`gen/ equals what buf writes from proto/ (${fresh.size} files)\n`);
  }
} finally {
  rmSync(scratch, { recursive: true });
}
