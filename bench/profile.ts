import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { closedLoop } from './closed-loop.js';
import type { Effort } from './measure.js';
import { BenchAgent } from './parties/agent.js';
import { openConnection } from './parties/grpc-stream.js';
import { makeProcessor } from './parties/hardware.js';
import { startKeyServer } from './parties/key-server.js';

const inFlight = 64;
const requestsAtOnce = 4000;
const rows = 60;

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Runs KeyAcquire against a server under node --cpu-prof; gives its busy time by function. */
export async function profileAcquire(folder: string, effort: Effort): Promise<string> {
  const profiles = join(folder, 'profiles');
  mkdirSync(profiles);
  const server = await startKeyServer(join(folder, 'server'), await makeProcessor(), [
    '--cpu-prof',
    `--cpu-prof-dir=${profiles}`,
    '--cpu-prof-interval=500',
  ]);
  const connection = await openConnection(server.address, server.ca);
  const agent = await BenchAgent.attest(connection, server.cvm);
  const keyIds: Uint8Array[] = [];
  while (keyIds.length < effort.keys) keyIds.push(await agent.allocate());
  const until = performance.now() + 20 * effort.seconds * 1000;
  do {
    const frames = Array.from({ length: requestsAtOnce }, (_, i) => {
      const keyId = keyIds[i % keyIds.length]!;
      return agent.seal(new Uint8Array(16), { case: 'keyAcquire', value: { keyId } });
    });
    await closedLoop([{ stream: agent.stream, frames }], inFlight);
  } while (performance.now() < until);
  connection.close();
  await server.process.stop();
  const [file] = readdirSync(profiles);
  return profileText(JSON.parse(readFileSync(join(profiles, file!), 'utf8')) as Profile);
}

/** Busy time of each function with what it calls, and by itself; percent. */
function profileText({ nodes, samples, timeDeltas }: Profile): string {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((c) => [c, id])));
  const total = new Map<string, number>();
  const self = new Map<string, number>();
  let busy = 0;
  // The first third is the start and the compiler.
  for (let i = Math.floor(samples.length / 3); i < samples.length; i++) {
    const leaf = byId.get(samples[i]!)!;
    if (leaf.callFrame.functionName === '(idle)') continue;
    const time = timeDeltas[i]!;
    busy += time;
    add(self, nameOf(leaf.callFrame), time);
    const names = new Set<string>();
    for (let id: number | undefined = leaf.id; id !== undefined; id = parents.get(id)) {
      names.add(nameOf(byId.get(id)!.callFrame));
    }
    for (const name of names) add(total, name, time);
  }
  const percent = (time = 0) => ((100 * time) / busy).toFixed(1).padStart(6);
  const top = (times: Map<string, number>) =>
    [...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, rows)
      .map(([name]) => `${percent(total.get(name))} ${percent(self.get(name))}  ${name}\n`);
  const head = ' total   self  function (percent of busy time)\n';
  return `${head}${top(total).join('')}\nby self\n${head}${top(self).join('')}`;
}

function add(times: Map<string, number>, name: string, time: number): void {
  times.set(name, (times.get(name) ?? 0) + time);
}

function nameOf({ functionName, url }: Profile['nodes'][number]['callFrame']): string {
  const file = url.replace(/^.*\/(?:dist|node_modules)\//, '');
  return `${functionName === '' ? '(anonymous)' : functionName} ${file}`.trimEnd();
}
