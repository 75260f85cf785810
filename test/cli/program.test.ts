import { describe, expect, test } from 'vitest';
import { commands } from '#cli/commands.js';
import { jsonText, paint, table, writeError } from '#cli/terminal/output.js';
import { commandLine } from './command-line.js';
import { recordedTerminal } from './terminal.js';

describe('every command', () => {
  test('has a name of its own, a summary that ends, and an example of itself', () => {
    const names = commands.map((c) => c.name);
    expect(new Set(names).size).toBe(names.length);
    for (const c of commands) {
      expect(c.name).toMatch(/^[a-z]+( [a-z]+(-[a-z]+)*){0,2}$/);
      expect(c.summary).toMatch(/^[A-Z].*\.$/);
      expect(c.examples[0]).toMatch(new RegExp(`^cvmp ${c.name}`));
    }
  });

  test('takes option names in lower case with the unit in the name or the summary', () => {
    for (const c of commands) {
      for (const [name, option] of Object.entries(c.options)) {
        expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
        expect(option.summary).toMatch(/\.$/);
        if (option.value === 'N') expect(`${name} ${option.summary}`).toMatch(/unless told|or /);
      }
    }
  });

  test.each(commands.map((c) => c.name))(
    '%s shows its help: examples before options',
    async (name) => {
      for (const argv of [
        [...name.split(' '), '--help'],
        ['help', ...name.split(' ')],
      ]) {
        const { code, terminal } = await commandLine(argv);
        expect(code).toBe(0);
        expect(terminal.stderr).toBe('');
        expect(terminal.stdout.indexOf('Examples:')).toBeGreaterThan(0);
        expect(terminal.stdout.indexOf('Examples:')).toBeLessThan(
          terminal.stdout.indexOf('Usage:'),
        );
        for (const option of ['--json', '--profile FILE', '--help']) {
          expect(terminal.stdout).toContain(option);
        }
      }
    },
  );

  test.each(commands.map((c) => c.name))(
    '%s refuses an unknown option with exit code 2',
    async (name) => {
      const { code, terminal } = await commandLine([...name.split(' '), '--no-such-option']);
      expect(code).toBe(2);
      expect(terminal.stdout).toBe('');
      expect(terminal.stderr).toMatch(/^cvmp: error: USAGE Unknown option '--no-such-option'/);
      expect(terminal.stderr).toContain(`hint: see cvmp ${name} --help`);
    },
  );

  const counted = commands.filter((c) => !c.positionals?.some((p) => p.includes('...')));
  test.each(counted.map((c) => c.name))('%s refuses one word too many', async (name) => {
    const { positionals = [] } = commands.find((c) => c.name === name)!;
    const words = [...positionals, 'extra'].map((_, i) => `word${i}`);
    const { code, terminal } = await commandLine([...name.split(' '), ...words]);
    expect(code).toBe(2);
    expect(terminal.stderr).toContain(`what is word${words.length - 1} for?`);
  });

  const needy = commands.filter((c) => c.positionals?.some((p) => !p.startsWith('[')));
  test.each(needy.map((c) => c.name))('%s names what is missing', async (name) => {
    const { code, terminal } = await commandLine(name.split(' '));
    expect(code).toBe(2);
    expect(terminal.stderr).toMatch(/USAGE [A-Z.]+ is missing/);
  });
});

describe('command line', () => {
  const usage: readonly (readonly [argv: string, message: string, hint: string])[] = [
    ['', 'no command', 'cvmp --help'],
    ['--json', 'no command before --json', 'cvmp --help'],
    ['frobnicate', 'there is no command frobnicate', 'cvmp --help'],
    ['cmv list', 'there is no command cmv, did you mean cvm?', 'cvmp --help'],
    ['cvm', 'cvm needs a verb', 'cvmp help cvm'],
    ['cvm lst', 'cvm has no lst, did you mean list?', 'cvmp help cvm'],
    ['help frobnicate', 'there is no command frobnicate', 'cvmp --help'],
    ['cvm list --limit', "Option '--limit <value>' argument missing", 'cvmp cvm list --help'],
    ['cvm list --limit 0', '--limit must be a whole number from 1', 'cvmp cvm list --help'],
    ['cvm list --limit x', '--limit must be a whole number from 1', 'cvmp cvm list --help'],
    ['cvm list --json=yes', "Option '--json' does not take an argument", 'cvmp cvm list --help'],
    ['key show abc', 'KEYID must be 16 bytes in hex', 'cvmp key show --help'],
    ['token', '--audience is missing', 'cvmp token --help'],
    ['cvm start a --wait --no-wait', 'exclude each other', 'cvmp cvm start --help'],
    ['cvm start a --timeout-seconds 0', '--timeout-seconds must be', 'cvmp cvm start --help'],
    ['tenant register acme', 'TENANT and --key go together', 'cvmp tenant register --help'],
    ['tenant init acme --platform a:1', 'go together', 'cvmp tenant init --help'],
    ['cvm delete web', 'Nobody is there to answer: say --yes', 'cvmp cvm delete --help'],
  ];
  test.each(usage)('`cvmp %s` is wrong usage: exit code 2, %s', async (argv, message, hint) => {
    const { code, terminal } = await commandLine(argv.split(' ').filter((word) => word !== ''));
    expect(code).toBe(2);
    expect(terminal.stderr).toMatch(/^cvmp: error: USAGE /);
    expect(terminal.stderr).toContain(message);
    expect(terminal.stderr).toContain(`hint: see ${hint}\n`);
  });

  test('an error under --json is one document on stdout too', async () => {
    const { json, terminal } = await commandLine(['token', '--json']);
    expect(json()).toEqual({
      error: {
        code: 'USAGE',
        message: '--audience is missing',
        hint: 'see cvmp token --help',
      },
    });
    expect(terminal.stderr).toContain('cvmp: error: USAGE --audience is missing');
  });

  test('--help lists every command, --version tells the version, a noun its verbs', async () => {
    const overview = (await commandLine(['--help'])).terminal.stdout;
    for (const c of commands) expect(overview).toContain(`  ${c.name} `);
    expect((await commandLine(['help'])).terminal.stdout).toBe(overview);
    expect((await commandLine(['--version'])).terminal.stdout).toBe('cvmp 0.0.0\n');
    const verbs = await commandLine(['cvm', '--help']);
    expect(verbs.code).toBe(0);
    expect(verbs.terminal.stdout).toContain('cvmp cvm list');
  });

  test('deleting asks, and only yes is yes', async () => {
    for (const answer of ['', 'n', 'maybe', 'yess']) {
      const { code, terminal } = await commandLine(['cvm', 'delete', 'web'], { answers: [answer] });
      expect(code).toBe(1);
      expect(terminal.stderr).toContain('Delete web and its disk? [y/N] ');
      expect(terminal.stderr).toContain('CANCELLED nothing was done');
    }
    const yes = await commandLine(['cvm', 'delete', 'web'], { answers: ['y'] });
    expect(yes.terminal.stderr).toContain('no servers in this test');
  });
});

describe('output', () => {
  test('a table has columns as wide as their cells and no trailing blanks', () => {
    expect(
      table(
        ['A', 'LONG', 'C'],
        [
          ['aaa', 'b', ''],
          ['', '', 'c'],
        ],
      ),
    ).toBe('A    LONG  C\naaa  b\n           c');
  });

  test('64-bit integers are decimal strings in JSON', () => {
    expect(jsonText({ a: 1n, b: 2n ** 64n - 1n, c: 1, d: undefined })).toBe(
      '{"a":"1","b":"18446744073709551615","c":1}',
    );
  });

  test('colour only where the terminal shows it', () => {
    const plain = recordedTerminal();
    expect(paint(plain, 'red', 'x')).toBe('x');
    expect(paint({ ...plain, colour: true }, 'red', 'x')).toBe('\u001b[31mx\u001b[0m');
  });

  test('an error names its field once', () => {
    const terminal = recordedTerminal();
    writeError(
      terminal,
      { code: 'INVALID_FIELD', message: 'name: too long', field: 'name' },
      false,
    );
    writeError(terminal, { code: 'INVALID_FIELD', message: 'too long', field: 'name' }, false);
    expect(terminal.stderr).toBe(
      'cvmp: error: INVALID_FIELD name: too long\ncvmp: error: INVALID_FIELD too long (name)\n',
    );
  });
});
