import { randomBytes } from 'node:crypto';
import { closedLoop, type Lane, type LaneResult } from './closed-loop.js';
import { cpuSecondsOf, type Effort, median, percentile } from './measure.js';
import { BenchAgent, type Cvm } from './parties/agent.js';
import { type Connection, framed, GrpcStream, openConnection } from './parties/grpc-stream.js';
import type { Claim, Figure } from './report.js';

// Claim: KeyAcquire, decided, recorded durably, derived and sealed, against an echo that does
// nothing. Frames are sealed before the clock runs and opened after it has stopped, so that the
// client does the same for both.

/** Throughput that KeyAcquire must reach, as a part of the echo's. */
const mark = 0.35;
/** The echo's messages, bytes. */
const echoLength = 300;
const path = '/cvmp.v1.KeyService/Session';

export interface AcquireParties {
  readonly ca: string;
  readonly cvm: Cvm;
  readonly keyServer: { readonly pid: number; readonly address: string };
  readonly bareEcho: { readonly pid: number; readonly address: string };
  readonly hostEcho: { readonly pid: number; readonly address: string };
}

interface Shape {
  readonly name: string;
  readonly streams: number;
  readonly inFlight: number;
}

const shapes: readonly Shape[] = [
  { name: 'one stream, 16 in flight', streams: 1, inFlight: 16 },
  { name: 'one stream, 64 in flight', streams: 1, inFlight: 64 },
  { name: '16 connections, 4 in flight each', streams: 16, inFlight: 4 },
];

/** One of the things compared. */
interface Side {
  readonly pid: number;
  lanes(count: number): readonly Lane[];
  /** Judges the answers of a lane; gives the latency of each in milliseconds. */
  latencies(lane: number, result: LaneResult): readonly number[];
  close(): void;
}

const names = ['acquire', 'host', 'bare'] as const;
type Name = (typeof names)[number];

interface Round {
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
  readonly latencies: readonly number[];
}

export async function measureAcquire(parties: AcquireParties, effort: Effort): Promise<Claim> {
  const keyIds = await allocateKeys(parties, effort.keys);
  const figures: Figure[] = [];
  for (const shape of shapes) figures.push(await measureShape(parties, keyIds, shape, effort));
  return {
    title: 'KeyAcquire, pipelined',
    ratioOf: `throughput, of an empty echo of ${echoLength} bytes by grpc-js alone, same TLS; own echo: of one by server/host`,
    figures,
  };
}

async function measureShape(
  parties: AcquireParties,
  keyIds: readonly Uint8Array[],
  shape: Shape,
  effort: Effort,
): Promise<Figure> {
  const { ca } = parties;
  const sides = {
    acquire: await acquireSide(parties, keyIds, shape),
    host: await echoSide(parties.hostEcho, ca, shape),
    bare: await echoSide(parties.bareEcho, ca, shape),
  };
  const rounds: Record<Name, Round[]> = { acquire: [], host: [], bare: [] };
  const counts: Record<Name, number> = { acquire: 0, host: 0, bare: 0 };
  for (const name of names) {
    counts[name] = await warmUp(sides[name], shape, effort);
  }
  for (let i = 0; i < effort.rounds; i++) {
    for (const name of names) rounds[name].push(await round(sides[name], shape, counts[name]));
  }
  for (const name of names) sides[name].close();
  const perSecond = (name: Name) => median(rounds[name].map((r) => r.perSecond));
  const cpu = (name: Name) => median(rounds[name].map((r) => r.cpuMicroseconds));
  // Round by round: what disturbs one side of a round disturbs the others too.
  const ratioTo = (name: Name) =>
    median(rounds.acquire.map((r, i) => r.perSecond / rounds[name][i]!.perSecond));
  const latencies = Float64Array.from(rounds.acquire.flatMap((r) => r.latencies)).sort();
  return {
    name: shape.name,
    ratio: ratioTo('bare'),
    mark,
    values: {
      of_own_echo: ratioTo('host'),
      cpu_ratio: cpu('bare') / cpu('acquire'),
      per_s: perSecond('acquire'),
      echo_per_s: perSecond('bare'),
      own_echo_per_s: perSecond('host'),
      cpu_us: cpu('acquire'),
      echo_cpu_us: cpu('bare'),
      own_echo_cpu_us: cpu('host'),
      p50_ms: percentile(latencies, 0.5),
      p99_ms: percentile(latencies, 0.99),
    },
  };
}

/** @returns how many requests fill a round */
async function warmUp(side: Side, shape: Shape, { warmUpSeconds, seconds }: Effort) {
  const until = performance.now() + warmUpSeconds * 1000;
  let count = shape.streams * shape.inFlight * 4;
  for (;;) {
    const { perSecond } = await round(side, shape, count);
    count = Math.max(shape.streams * shape.inFlight * 2, Math.round(perSecond * seconds));
    if (performance.now() >= until) return count;
  }
}

async function round(side: Side, shape: Shape, count: number): Promise<Round> {
  const lanes = side.lanes(Math.ceil(count / shape.streams));
  const total = lanes.reduce((sum, { frames }) => sum + frames.length, 0);
  const cpu = cpuSecondsOf(side.pid);
  const { seconds, lanes: results } = await closedLoop(lanes, shape.inFlight);
  const cpuSeconds = cpuSecondsOf(side.pid) - cpu;
  return {
    perSecond: total / seconds,
    cpuMicroseconds: (cpuSeconds / total) * 1e6,
    latencies: results.flatMap((result, i) => side.latencies(i, result)),
  };
}

async function echoSide(
  { pid, address }: AcquireParties['bareEcho'],
  ca: string,
  { streams }: Shape,
): Promise<Side> {
  const connections = await connect(address, ca, streams);
  const opened = connections.map((connection) => new GrpcStream(connection, path));
  // A serialised SessionRequest {sealed}, which the echo by server/host reads as such.
  const content = randomBytes(echoLength - 3);
  const frame = framed(Buffer.concat([sealedHead(content.length), content]));
  return {
    pid,
    lanes: (count) =>
      opened.map((stream) => ({ stream, frames: new Array<Buffer>(count).fill(frame) })),
    latencies: (_lane, { sentAt, gotAt }) => Array.from(gotAt, (at, i) => at - sentAt[i]!),
    close: () => closeAll(connections),
  };
}

/** Field 3, length-delimited, two bytes of length. */
function sealedHead(length: number): Buffer {
  return Buffer.from([(3 << 3) | 2, (length & 0x7f) | 0x80, length >> 7]);
}

async function acquireSide(
  { keyServer, ca, cvm }: AcquireParties,
  keyIds: readonly Uint8Array[],
  { streams }: Shape,
): Promise<Side> {
  const connections = await connect(keyServer.address, ca, streams);
  const agents = await Promise.all(connections.map((c) => BenchAgent.attest(c, cvm)));
  let made = 0;
  const frameOf = (agent: BenchAgent, i: number) => {
    const requestId = new Uint8Array(16);
    new DataView(requestId.buffer).setUint32(0, i);
    const keyId = keyIds[made++ % keyIds.length]!;
    return agent.seal(requestId, { case: 'keyAcquire', value: { keyId } });
  };
  return {
    pid: keyServer.pid,
    lanes: (count) =>
      agents.map((agent) => ({
        stream: agent.stream,
        frames: Array.from({ length: count }, (_, i) => frameOf(agent, i)),
      })),
    latencies: (lane, { answers, sentAt, gotAt }) =>
      answers.map((answer, k) => gotAt[k]! - sentAt[indexOf(agents[lane]!, answer)]!),
    close: () => closeAll(connections),
  };
}

/** Which request an answer with a Security Key answers. */
function indexOf(agent: BenchAgent, answer: Buffer): number {
  const { requestId, response } = agent.open(answer);
  if (response.case !== 'keyAcquire' || response.value.securityKey.length !== 32) {
    throw new Error(`no Security Key but ${JSON.stringify(response)}`);
  }
  return new DataView(requestId.buffer, requestId.byteOffset).getUint32(0);
}

function closeAll(connections: readonly Connection[]): void {
  for (const connection of connections) connection.close();
}

function connect(address: string, ca: string, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => openConnection(address, ca)));
}

async function allocateKeys({ keyServer, ca, cvm }: AcquireParties, count: number) {
  const connection = await openConnection(keyServer.address, ca);
  const agent = await BenchAgent.attest(connection, cvm);
  const keyIds: Uint8Array[] = [];
  while (keyIds.length < count) keyIds.push(await agent.allocate());
  connection.close();
  return keyIds;
}
