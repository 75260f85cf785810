import type { BareOperations } from './bare-operations.js';
import { cpuSecondsOf, type Effort, median, timed } from './measure.js';
import { BenchAgent, type Cvm } from './parties/agent.js';
import { type Connection, openConnection } from './parties/grpc-stream.js';
import type { Claim, Figure } from './report.js';

// Claim: setting up a session costs the server little more than the public-key operations in it.

const atOnce = 8;

export interface SetUpParties {
  readonly ca: string;
  readonly cvm: Cvm;
  readonly keyServer: { readonly pid: number; readonly address: string };
}

export async function measureSetUp(
  parties: SetUpParties,
  bare: BareOperations,
  effort: Effort,
): Promise<Claim> {
  const { keyServer, ca, cvm } = parties;
  const connections = await Promise.all(
    Array.from({ length: atOnce }, () => openConnection(keyServer.address, ca)),
  );
  const idle = [...connections];
  const onOpen = async () => {
    const connection = idle.pop()!;
    (await BenchAgent.attest(connection, cvm)).close();
    idle.push(connection);
  };
  const onOwn = async () => {
    const connection: Connection = await openConnection(keyServer.address, ca);
    (await BenchAgent.attest(connection, cvm)).close();
    connection.close();
  };
  // One report; the challenge and the acceptance; the server's ephemeral key and the agreement.
  const { p384Verify, p256Sign, p256KeyPair, p256Ecdh } = bare;
  const bareCost = p384Verify + 2 * p256Sign + p256KeyPair + p256Ecdh;
  const figures = [
    await figure('on an open connection', onOpen),
    await figure('with its own TLS connection', onOwn),
  ];
  for (const connection of connections) connection.close();
  return {
    title: 'Session set-up: handshake, evidence verified and appraised, recorded, granted',
    ratioOf:
      'bare cost of its public-key operations (P-384 verify, 2 P-256 sign, key pair, ECDH), ' +
      "of the server's CPU",
    figures,
  };

  async function figure(name: string, setUp: () => Promise<void>): Promise<Figure> {
    await timed(effort.warmUpSeconds, setUp, atOnce);
    const rounds: { perSecond: number; cpu: number }[] = [];
    for (let i = 0; i < effort.rounds; i++) {
      const cpu = cpuSecondsOf(keyServer.pid);
      const { perSecond, count } = await timed(effort.seconds * 2, setUp, atOnce);
      rounds.push({ perSecond, cpu: ((cpuSecondsOf(keyServer.pid) - cpu) / count) * 1e6 });
    }
    const serverCpu = median(rounds.map(({ cpu }) => cpu));
    return {
      name,
      ratio: serverCpu === 0 ? 0 : bareCost / serverCpu,
      values: {
        sessions_per_s: median(rounds.map(({ perSecond }) => perSecond)),
        server_cpu_us: serverCpu,
        bare_cpu_us: bareCost,
        per_core_per_s: serverCpu === 0 ? 0 : 1e6 / serverCpu,
      },
    };
  }
}
