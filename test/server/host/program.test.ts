import { EventEmitter } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { createLog } from '#server/host/log.js';
import { type Program, runProgram } from '#server/host/program.js';
import { temporaryFolder } from '../../run-folder.js';

interface Settings {
  readonly size: number;
}

/** A process that is none. */
function fakeProcess(args: readonly string[]) {
  const signals = new EventEmitter();
  const out = { stdout: '', stderr: '', exits: [] as number[] };
  const process = {
    arguments: args,
    stdout: (text: string) => {
      out.stdout += text;
    },
    stderr: (text: string) => {
      out.stderr += text;
    },
    signals,
    secrets: () => ({ readSecret: async () => new Uint8Array() }),
    exit: ((code: number) => out.exits.push(code)) as never,
  };
  return { process, signals, out };
}

function configFile(text: string): string {
  const file = join(temporaryFolder('program'), 'x.yaml');
  writeFileSync(file, text);
  return file;
}

function program(notes: string[], stop: () => Promise<void> = async () => undefined) {
  const it: Program<Settings> = {
    name: 'cvmp-test',
    read: (config) => ({
      size: config.integer('size', { min: 1, max: 9, default: 3, why: 'few' }),
    }),
    init: async ({ size }, { selfSignedNames }) => {
      notes.push(`init ${size} ${selfSignedNames.join(',')}`);
      return ['made'];
    },
    serve: async ({ size }) => {
      notes.push(`serve ${size}`);
      return {
        log: createLog('test', 'silent'),
        apply: (next) => {
          if (next.size === 8) throw new CvmpError('CONFIG', 'eight is refused');
          notes.push(`apply ${next.size}`);
        },
        stop: async () => {
          await stop();
          notes.push('stopped');
        },
      };
    },
  };
  return it;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a server program', () => {
  test('init runs once with its names and says what it made', async () => {
    const notes: string[] = [];
    const args = [
      'init',
      '--config',
      configFile('size: 5'),
      '--self-signed',
      'a',
      '--self-signed',
      'b',
    ];
    const { process, out } = fakeProcess(args);
    expect(await runProgram(program(notes), process)).toBe(0);
    expect(notes).toEqual(['init 5 a,b']);
    expect(out.stdout).toBe('made\n');
  });

  test.each(['SIGTERM', 'SIGINT'])('serve runs until %s, then stops in order', async (signal) => {
    const notes: string[] = [];
    const { process, signals, out } = fakeProcess(['serve', '--config', configFile('')]);
    const code = runProgram(program(notes), process);
    await until(() => signals.listenerCount(signal) > 0);
    expect(notes).toEqual(['serve 3']);
    signals.emit(signal);
    expect(await code).toBe(0);
    expect(notes).toEqual(['serve 3', 'stopped']);
    expect(out.exits).toEqual([]);
  });

  test('a second signal forces', async () => {
    const notes: string[] = [];
    const { process, signals, out } = fakeProcess(['serve', '--config', configFile('')]);
    let release: () => void = () => undefined;
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    const code = runProgram(
      program(notes, () => stuck),
      process,
    );
    await until(() => signals.listenerCount('SIGINT') > 0);
    signals.emit('SIGINT');
    signals.emit('SIGINT');
    expect(out.exits).toEqual([1]);
    release();
    await code;
  });

  test('SIGHUP takes the file over; one that is wrong changes nothing', async () => {
    const notes: string[] = [];
    const file = configFile('size: 4');
    const { process, signals } = fakeProcess(['serve', '--config', file]);
    const code = runProgram(program(notes), process);
    await until(() => signals.listenerCount('SIGTERM') > 0);
    for (const size of [5, 99, 8, 6]) {
      writeFileSync(file, `size: ${size}`);
      const before = notes.length;
      signals.emit('SIGHUP');
      if (size < 8) await until(() => notes.length > before);
      else for (let turn = 0; turn < 20; turn++) await until(() => true);
    }
    signals.emit('SIGTERM');
    expect(await code).toBe(0);
    expect(notes).toEqual(['serve 4', 'apply 5', 'apply 6', 'stopped']);
  });

  test('--print-config prints the effective values and starts nothing', async () => {
    const notes: string[] = [];
    const { process, out } = fakeProcess(['serve', '--config', configFile(''), '--print-config']);
    expect(await runProgram(program(notes), process)).toBe(0);
    expect(out.stdout).toContain('size: 3 # default: few');
    expect(notes).toEqual([]);
  });

  test.each([
    ['no verb', [], 2],
    ['an unknown verb', ['start', '--config', 'x'], 2],
    ['no configuration', ['serve'], 2],
    ['an unknown flag', ['serve', '--config', 'x', '--fast'], 2],
    ['a file that is not there', ['serve', '--config', '/nonexistent/x.yaml'], 1],
  ])(
    '%s: exit code, a message and a hint on stderr, nothing on stdout',
    async (_what, args, code) => {
      const { process, out } = fakeProcess(args as string[]);
      expect(await runProgram(program([]), process)).toBe(code);
      expect(out.stderr).toMatch(/^cvmp-test: error: /);
      expect(out.stderr).toContain('hint: ');
      expect(out.stdout).toBe('');
    },
  );

  test('a wrong configuration is 1 and names the entry', async () => {
    const { process, out } = fakeProcess(['serve', '--config', configFile('size: 10')]);
    expect(await runProgram(program([]), process)).toBe(1);
    expect(out.stderr).toContain('size is not a whole number from 1 to 9');
  });

  test('a refusal of the program is 1 with its message; a bug is thrown on', async () => {
    const failing = (error: Error): Program<Settings> => ({
      ...program([]),
      serve: async () => {
        throw error;
      },
    });
    const { process, out } = fakeProcess(['serve', '--config', configFile('')]);
    const refused = failing(new CvmpError('STORE_MISSING', 'there is no store at /x'));
    expect(await runProgram(refused, process)).toBe(1);
    expect(out.stderr).toContain('there is no store at /x');
    await expect(runProgram(failing(new TypeError('bug')), process)).rejects.toThrow('bug');
  });

  test('--help shows examples first', async () => {
    const { process, out } = fakeProcess(['--help']);
    expect(await runProgram(program([]), process)).toBe(0);
    expect(out.stdout).toMatch(/^examples:\n {2}cvmp-test init/);
  });
});
