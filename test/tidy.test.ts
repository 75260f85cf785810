import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

// The repository's own rules (docs/architecture.md) as tests: the import table, dead files, sizes,
// names. A change that needs another arrow changes the table here and the picture there.

const root = resolve(fileURLToPath(new URL('..', import.meta.url)));
const tracked = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\n')
  .filter((f) => f !== '' && existsSync(join(root, f)));
const sources = tracked.filter((f) => /\.(ts|tsx)$/.test(f) && !f.startsWith('gen/'));

interface Import {
  readonly from: string;
  /** Repository path of an own file, or the name of a package. */
  readonly to: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: Import[] = [];
  for (const match of text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*'([^']+)'/g)) {
    const spec = match[1]!;
    let to = spec;
    if (spec.startsWith('.')) to = relative(root, resolve(root, dirname(file), spec));
    else if (spec === '#crypto') to = 'core/crypto.js';
    else if (spec.startsWith('#')) to = spec.slice(1);
    found.push({ from: file, to: to.replace(/\.js$/, '.ts') });
  }
  return found;
}

const imports = sources.flatMap(importsOf);

/** Rank of each room of core: a room sees only rooms of lower rank. */
const coreRanks: readonly (readonly string[])[] = [
  ['bytes', 'errors', 'crypto', 'crypto.node', 'crypto.browser', 'hkdf', 'guid', 'json'],
  ['cbor', 'asn1'],
  ['cose', 'x509', 'eventlog', 'firmware'],
  ['rats', 'boot', 'log'],
  ['snp', 'tdx', 'tpm', 'cca', 'keying', 'corim'],
  ['azure', 'svsm', 'ear'],
  ['session', 'schemes'],
];

const encodings = [
  'core/bytes',
  'core/errors',
  'core/crypto',
  'core/hkdf',
  'core/cbor',
  'core/cose',
];

/** Who may import whom, most special room first; what is not listed is forbidden. */
const arrows: readonly (readonly [room: string, allowed: readonly string[]])[] = [
  [
    'server/cvm-platform/driver/simulated',
    ['server/cvm-platform', 'server/host', 'sim', 'gen', 'wire', ...encodings],
  ],
  ['server/cvm-platform', ['server/host', 'libvirt', 'gen', 'wire', ...encodings]],
  ['server/key-server', ['server/host', 'gen', 'wire', 'core']],
  ['server/host', ['gen', 'wire', 'core/x509', 'core/asn1', ...encodings]],
  ['agent', ['gen', 'wire', 'core']],
  ['cli', ['libvirt', 'gen', 'wire', 'core']],
  ['libvirt', ['core/bytes', 'core/errors']],
  [
    'sim',
    [
      'wire',
      'core/x509',
      'core/asn1',
      'core/guid',
      'core/firmware',
      'core/snp',
      'core/svsm/manifest',
      'core/tdx',
      'core/rats',
      ...encodings,
    ],
  ],
  ['wire', ['gen', 'core']],
  ['core', ['core']],
  ['demo', ['']],
  ['scripts', ['']],
  ['bench', ['']],
  ['test', ['']],
];

const inside = (path: string, room: string) =>
  room === '' || path === room || path.startsWith(`${room}/`) || path.startsWith(`${room}.`);

const own = (path: string) => arrows.some(([room]) => inside(path, room)) || inside(path, 'gen');

function coreRoom(path: string): string {
  return path.slice('core/'.length).replace(/\.ts$/, '').split('/')[0]!;
}

function coreRank(path: string): number {
  return coreRanks.findIndex((rooms) => rooms.includes(coreRoom(path)));
}

describe('import rule (docs/architecture.md, "Rooms")', () => {
  test('every room has its place in the table', () => {
    const homeless = sources.filter((f) => f.includes('/') && !own(f) && !f.startsWith('.'));
    expect(homeless).toEqual([]);
  });

  test('arrows run only as drawn', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!own(to)) return false;
      const row = arrows.find(([room]) => inside(from, room));
      if (row === undefined) return false;
      return !inside(to, row[0]) && !row[1].some((room) => inside(to, room));
    });
    expect(wrong).toEqual([]);
  });

  test('inside core a room sees only rooms of lower rank', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!inside(from, 'core') || !inside(to, 'core') || coreRoom(from) === coreRoom(to)) {
        return false;
      }
      const [a, b] = [coreRank(from), coreRank(to)];
      if (a === 0 && b === 0) return false;
      if (coreRoom(from) === 'schemes') return b < 0 || b > 5;
      return a < 0 || b < 0 || b >= a;
    });
    expect(wrong).toEqual([]);
  });

  test('core is pure: no Node module, no generated stub, no clock, no environment', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        inside(from, 'core') && to.startsWith('node:') && from !== 'core/crypto.node.ts',
    );
    expect(wrong).toEqual([]);
    const clocks = sources.filter(
      (f) =>
        inside(f, 'core') &&
        /\bDate\.now\(|new Date\(\)|\bprocess\.|Math\.random/.test(
          readFileSync(join(root, f), 'utf8'),
        ),
    );
    expect(clocks).toEqual([]);
  });

  test('the environment and arguments are read by main.ts alone', () => {
    const wrong = sources.filter(
      (f) =>
        !/(^|\/)main\.ts$/.test(f) &&
        !/^(test|bench|demo|scripts)\//.test(f) &&
        /\bprocess\.(env|argv)\b/.test(readFileSync(join(root, f), 'utf8')),
    );
    expect(wrong).toEqual([]);
  });

  test('the platform cannot reach appraisal or keying, not even through another room', () => {
    const seen = new Set<string>();
    const queue = sources.filter(
      (f) => inside(f, 'server/cvm-platform') && !inside(f, 'server/cvm-platform/driver/simulated'),
    );
    for (let f = queue.pop(); f !== undefined; f = queue.pop()) {
      if (seen.has(f)) continue;
      seen.add(f);
      for (const { from, to } of imports) {
        // The simulated driver plays the hardware; it is not the provider's code.
        if (from === f && own(to) && !inside(to, 'server/cvm-platform/driver/simulated')) {
          queue.push(to);
        }
      }
    }
    const reached = [...seen].filter((f) =>
      ['core/keying', 'core/session', 'core/snp/verify', 'core/snp/appraise'].some((r) =>
        inside(f, r),
      ),
    );
    expect(reached).toEqual([]);
  });
});

describe('shape', () => {
  test('no file is dead: everything is imported, or is an entry point', () => {
    const entries =
      /(^|\/)main\.ts$|^test\/|^bench\/|^scripts\/|^vitest\.config\.ts$|^core\/crypto\.browser\.ts$|-process\.ts$/;
    const used = new Set(imports.map((i) => i.to));
    used.add('core/crypto.node.ts');
    const dead = sources.filter((f) => !entries.test(f) && !used.has(f));
    expect(dead).toEqual([]);
  });

  test('no file is longer than 400 lines, but for the one table of errors', () => {
    const long = sources.filter(
      (f) => f !== 'core/errors.ts' && readFileSync(join(root, f), 'utf8').split('\n').length > 401,
    );
    expect(long).toEqual([]);
  });

  test('no folder holds more than 16 files of code, and none is named for nothing', () => {
    const folders = new Map<string, number>();
    for (const f of sources) {
      if (!f.startsWith('test/')) folders.set(dirname(f), (folders.get(dirname(f)) ?? 0) + 1);
    }
    expect([...folders].filter(([f, n]) => n > 16 && f !== 'cli/commands')).toEqual([]);
    const empty = /(^|\/)(util|utils|helper|helpers|common|misc|manager|types)(\.ts|\/)/;
    expect(sources.filter((f) => empty.test(f))).toEqual([]);
  });

  test('tests do not wait by the clock', () => {
    const sleeping = sources.filter((f) => {
      if (!f.startsWith('test/') || f === 'test/tidy.test.ts') return false;
      const text = readFileSync(join(root, f), 'utf8');
      return /setTimeout\([^,]*, *[0-9_]{3,}\)|timers\/promises|sleep\(/.test(text);
    });
    expect(sleeping).toEqual([]);
  });

  test('nothing is left open, switched off or focused', () => {
    const marks =
      /\b(TODO|FIXME|XXX)\b|not implemented|@ts-ignore|@ts-nocheck|\b(it|test|describe)\.(only|todo|skip)\(/i;
    const open = sources.filter(
      (f) => f !== 'test/tidy.test.ts' && marks.test(readFileSync(join(root, f), 'utf8')),
    );
    expect(open).toEqual([]);
  });
});

describe('production dependencies', () => {
  test('each one has its line in docs/decisions/0002-dependencies.md, and the reverse', () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const text = readFileSync(join(root, 'docs/decisions/0002-dependencies.md'), 'utf8');
    const listed = [...text.matchAll(/^\| `([^`]+)` *\|/gm)].map((m) => m[1]!);
    expect(listed.sort()).toEqual(Object.keys(dependencies).sort());
  });
});
