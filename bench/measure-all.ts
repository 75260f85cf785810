import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SecurityProcessor } from '#sim/security-processor.js';
import { measureBare } from './bare-operations.js';
import { evidenceKinds } from './evidence/kinds.js';
import { measureBlocking, measureVerification } from './evidence/verification.js';
import { measureAcquire } from './key-acquire.js';
import type { Effort } from './measure.js';
import { startKeyServer } from './parties/key-server.js';
import { type ServerProcess, startServer } from './parties/processes.js';
import type { Claim } from './report.js';
import { measureSetUp } from './set-up.js';
import { measureStore } from './store.js';

const echoProgram = fileURLToPath(
  new URL(
    '../dist/bench/parties/echo-process.js',
    import.meta.url.replace(/\/dist(?=\/bench\/)/, ''),
  ),
);

/**
 * Measures every claim, with servers and stores of its own.
 * @param folder for stores; the caller removes it
 * @param say told what is measured now
 */
export async function measureAll(
  processor: SecurityProcessor,
  folder: string,
  effort: Effort,
  say: (text: string) => void,
): Promise<readonly Claim[]> {
  const running: ServerProcess[] = [];
  try {
    say('starting the servers ...');
    const { process: server, ...party } = await startKeyServer(join(folder, 'server'), processor);
    running.push(server);
    const { certificateFile, keyFile } = party.tls;
    const echo = await startServer([echoProgram, certificateFile, keyFile], 2);
    running.push(echo);
    const keyServer = { pid: server.pid, address: party.address };
    const [bareEcho, hostEcho] = echo.addresses.map((address) => ({ pid: echo.pid, address }));

    say('KeyAcquire against an echo ...');
    const parties = { ...party, keyServer, bareEcho: bareEcho!, hostEcho: hostEcho! };
    const acquire = await measureAcquire(parties, effort);
    say('session set-up ...');
    const bare = measureBare(processor.chip.authority.ark.key, effort);
    const setUp = await measureSetUp({ ...party, keyServer }, bare, effort);
    say('evidence ...');
    const evidence = await measureEvidence(processor, effort);
    say('store ...');
    mkdirSync(join(folder, 'store'));
    const store = await measureStore(join(folder, 'store'), effort);
    return [acquire, setUp, ...evidence, store];
  } finally {
    await Promise.all(running.map((server) => server.stop()));
  }
}

/** What needs no server: evidence of every kind. */
export async function measureEvidence(
  processor: SecurityProcessor,
  effort: Effort,
): Promise<readonly Claim[]> {
  const kinds = await evidenceKinds(processor);
  const verification = await measureVerification(kinds, processor.chip.authority.ark.key, effort);
  return [verification, await measureBlocking(kinds, effort)];
}
