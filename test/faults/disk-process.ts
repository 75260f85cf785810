// Runs with disk-shim.c preloaded: does every operation over a copy of a store while the disk
// misbehaves from a chosen step on, then looks at what is left with a disk that behaves. Arguments: the
// control file, a folder for copies, the world as JSON. Each line of standard input is a task, each
// of standard output its report.
import { mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CvmpError } from '#core/errors.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { openPlace, type Place } from '../server/key-server/state.js';
import { kinds, type Report, type Task, worldFromJson } from './disk-tasks.js';
import {
  copyStore,
  lost,
  operations,
  placeIn,
  problemsOf,
  seen,
  type World,
} from './operations.js';

const [controlFile = '', copies = '', worldFile = ''] = process.argv.slice(2);
const world: World = worldFromJson(readFileSync(worldFile, 'utf8'));
const control = openSync(controlFile, 'r+');
const ids = operations.map((_, i) => new Uint8Array(16).fill(i + 1));

/** Sets what the disk does below `folder`; an empty one: nothing from now on. */
function arm({ kind, at }: Task, folder: string): void {
  const bytes = Buffer.alloc(12 + 4096);
  bytes.writeInt32LE(kinds[kind], 0);
  bytes.writeInt32LE(at, 4);
  bytes.write(folder, 12);
  writeSync(control, bytes, 0, bytes.length, 0);
}

const steps = () => readFileSync(controlFile).readInt32LE(8);

/** What is to be seen after so many operations, where nothing fails, and amid the last of them. */
const expected: string[][] = [];

async function sequence(
  state: KeyServerState,
  from: number,
  answered: (answer: string) => Promise<void>,
  between?: () => Promise<void>,
) {
  for (let i = from; i < operations.length; i++) {
    const answer = await operations[i]!.run(state, world, ids[i]!, between);
    await answered(JSON.stringify(answer));
  }
}

/** What is to be seen, whatever ids new keys got and when. */
async function snapshot(state: KeyServerState): Promise<string> {
  const known = new Set([...world.released.keys()].map((name) => name.split(' ')[0]));
  const tenants = (await seen(state)).map(({ keys, ...rest }) => {
    const masked = keys.map((key) => (known.has(key.keyId) ? key : { ...key, keyId: 'new' }));
    return { ...rest, keys: masked.map((key) => JSON.stringify(key)).sort() };
  });
  return JSON.stringify(tenants).replace(/\b1\d{12}\b/g, 'time');
}

function freshCopy(name: string): Place {
  const folder = join(copies, name);
  mkdirSync(folder);
  copyStore(world.place.folder, join(folder, 'store'));
  return placeIn(world, join(folder, 'store'));
}

async function opened<T>(place: Place, body: (state: KeyServerState) => Promise<T>): Promise<T> {
  const state = await openPlace(place);
  try {
    return await body(state);
  } finally {
    await state.close();
  }
}

/** Counts the steps of an undisturbed run, and notes what is to be expected. */
async function rehearse(): Promise<number> {
  const place = freshCopy('rehearsal');
  arm({ kind: 'count', at: 0 }, `${join(copies, 'rehearsal')}/`);
  const answers: string[] = [];
  await opened(place, (state) => sequence(state, 0, async (answer) => void answers.push(answer)));
  const count = steps();
  arm({ kind: 'count', at: 0 }, '');
  const again = freshCopy('rehearsal-seen');
  await opened(again, async (state) => {
    let amid: string[] = [];
    const note = async () => {
      expected.push([await snapshot(state), ...amid]);
      amid = [];
    };
    await note();
    await sequence(state, 0, note, async () => void amid.push(await snapshot(state)));
  });
  return count;
}

async function disturb(task: Task): Promise<Report> {
  const name = `${task.kind}-${task.at}`;
  const place = freshCopy(name);
  arm(task, `${join(copies, name)}/`);
  const answers: string[] = [];
  let end = 'all answered';
  try {
    await opened(place, (state) =>
      sequence(state, 0, async (answer) => {
        // What was answered after the process would have died was never heard.
        const isDead = task.kind === 'lost' || task.kind === 'torn';
        if (!isDead || steps() < task.at) answers.push(answer);
      }),
    );
  } catch (error) {
    end = codeOf(error);
  }
  arm({ kind: 'count', at: 0 }, '');
  const report = await look(place, answers);
  rmSync(join(copies, name), { recursive: true });
  return { ...task, end, answered: answers.length, ...report };
}

/** Opens what is left and compares it with what was answered. */
async function look(place: Place, answers: readonly string[]) {
  const problems: string[] = [];
  try {
    await opened(place, async (state) => {
      const now = await snapshot(state);
      const count = answers.length;
      const isAsItWas = now === expected[count]?.[0];
      if (!isAsItWas && !expected[count + 1]?.includes(now)) {
        problems.push(`after ${count} answers it is as after ${reached(now)}`);
      }
      problems.push(...(await lost(world, state)));
      const last = answers.length - 1;
      if (last >= 0) {
        const again = await operations[last]!.run(state, world, ids[last]!);
        if (JSON.stringify(again) !== answers[last]) problems.push('another answer to the same');
      }
      await sequence(state, answers.length, async () => undefined);
      const end = await snapshot(state);
      if (end !== expected.at(-1)![0]) problems.push(`it cannot go on: ${differing(end)}`);
    });
    problems.push(...(await problemsOf(place)));
    return { reopened: 'served', problems };
  } catch (error) {
    return { reopened: codeOf(error), problems };
  }
}

const reached = (now: string) => expected.map(([first]) => first).lastIndexOf(now);

/** Where it differs from what it should have come to. */
function differing(end: string): string {
  const wanted = expected.at(-1)![0]!;
  const at = [...end].findIndex((char, i) => char !== wanted[i]);
  return `${end.slice(at - 60, at + 60)} instead of ${wanted.slice(at - 60, at + 60)}`;
}

function codeOf(error: unknown): string {
  return error instanceof CvmpError ? error.code : `${(error as Error).stack}`;
}

const say = (report: unknown) => writeSync(1, `${JSON.stringify(report)}\n`);

say({ steps: await rehearse() });
for await (const line of createInterface({ input: process.stdin })) {
  say(await disturb(JSON.parse(line) as Task));
}
