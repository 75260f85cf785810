import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { commands } from '#cli/commands.js';
import { commandHelp } from '#cli/program.js';
import { cvmPlatform } from '#server/cvm-platform/program.js';
import { type Program, runProgram } from '#server/host/program.js';
import { keyServer } from '#server/key-server/program.js';

const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
const pages = [
  'operating.md',
  ...readdirSync(join(docs, 'operating')).map((name) => `operating/${name}`),
];
const text = (page: string) => readFileSync(join(docs, page), 'utf8');

/** Blocks of a page between fences, by the language of the fence. */
function blocks(page: string, language: string): string[] {
  const found = [...text(page).matchAll(/^ *```([a-z]*)\n([\s\S]*?)^ *```$/gm)];
  return found.filter((match) => match[1] === language).map((match) => match[2]!);
}

/** What stands after a prompt, with its continuations. */
function typed(page: string): string[] {
  return ['', 'sh', 'console'].flatMap((language) =>
    blocks(page, language).flatMap((block) =>
      [...block.replaceAll(/\\\n\s*/g, '').matchAll(/^[$#] (.*)$/gm)].map((match) => match[1]!),
    ),
  );
}

interface Use {
  readonly page: string;
  readonly program: string;
  readonly words: readonly string[];
}

/** Where a command begins: not where its name is an argument of another one. */
const programs =
  /(?:^\s*|[|;&(]\s*|-- |[A-Z_]+=\S+ )(cvmp|cvmp-key-server|cvmp-platform|cvmp-agent)\s+((?:--)?[a-z][^|;&>)]*)/g;

/** Every use of a program of ours, in a command or between backquotes in the text. */
const uses: readonly Use[] = pages.flatMap((page) => {
  const prose = text(page).replaceAll(/```[\s\S]*?```/g, '');
  const quoted = [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
  return [...typed(page), ...quoted].flatMap((line) =>
    [...line.matchAll(programs)].map(([, program = '', rest = '']) => ({
      page,
      program,
      words: rest.trim().split(/\s+/),
    })),
  );
});

async function helpOf<C>(program: Program<C>): Promise<string> {
  let help = '';
  await runProgram(program, {
    arguments: ['--help'],
    stdout: (part) => {
      help += part;
    },
    stderr: () => undefined,
    secrets: () => ({ readSecret: async () => new Uint8Array() }),
    signals: { on: () => undefined },
    exit: () => {
      throw new Error('ended');
    },
  });
  return help;
}

const agentMain = readFileSync(join(docs, '../agent/main.ts'), 'utf8');

/** The help that this use should be in; undefined where there is no such verb. */
async function helpFor({ program, words }: Use): Promise<string | undefined> {
  if (program === 'cvmp-agent') return agentMain;
  if (program === 'cvmp') {
    const known = commands
      .filter(({ name }) => `${words.join(' ')} `.startsWith(`${name} `))
      .sort((a, b) => b.name.length - a.name.length)[0];
    return known && commandHelp(known);
  }
  const help = program.endsWith('platform')
    ? await helpOf(cvmPlatform(Date.now))
    : await helpOf(keyServer(Date.now));
  const verbs = words.filter((word) => !word.startsWith('-'));
  const known = [2, 1].some((n) =>
    help.includes(`  ${program} ${verbs.slice(0, n).join(' ')} --config`),
  );
  return known || words[0]?.startsWith('--') ? help : undefined;
}

describe("the operator's guide (issue 4, 7)", () => {
  test('uses every program', () => {
    expect(uses.length).toBeGreaterThan(40);
    const used = new Set(uses.map(({ program }) => program));
    expect(used).toEqual(new Set(['cvmp', 'cvmp-key-server', 'cvmp-platform']));
  });

  test('each verb that it uses is in the help of its program', async () => {
    const unknown: string[] = [];
    for (const use of uses) {
      if ((await helpFor(use)) === undefined) {
        unknown.push(`${use.page}: ${use.program} ${use.words.join(' ')}`);
      }
    }
    expect(unknown).toEqual([]);
  });

  test('each option that it uses is in the help of its verb', async () => {
    const unknown: string[] = [];
    for (const use of uses) {
      const help = (await helpFor(use)) ?? '';
      for (const word of use.words) {
        const [option] = /^--[a-z-]+/.exec(word) ?? [];
        if (option !== undefined && !new RegExp(`${option}\\b`).test(help)) {
          unknown.push(`${use.page}: ${use.program} ${use.words[0]} ${option}`);
        }
      }
    }
    expect(unknown).toEqual([]);
  });

  test('each file that it links is there', () => {
    const broken = pages.flatMap((page) =>
      [...text(page).matchAll(/\]\(([^)#:]+)(#[^)]*)?\)/g)]
        .map((match) => match[1]!)
        .filter((target) => !existsSync(join(docs, dirname(page), target)))
        .map((target) => `${page}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  test('it links every page of docs/operating', () => {
    const guide = text('operating.md');
    expect(pages.slice(1).filter((page) => !guide.includes(`](${page})`))).toEqual([]);
  });

  test('what it shows as YAML is YAML', () => {
    for (const page of pages) {
      for (const block of blocks(page, 'yaml')) expect(() => parse(block), page).not.toThrow();
    }
  });
});
