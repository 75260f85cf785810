import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError, errorTable } from '#core/errors.js';
import { decodeConfigDocument } from '#core/rats/config-document.js';
import { crypto } from '#crypto';
import { type Attester, checkOwnReport, openAttester } from './attester/attester.js';
import type { AgentConfig } from './config.js';
import { deliver } from './deliver/deliver.js';
import { demandVolatile } from './deliver/tmpfs.js';
import type { Disk } from './disk/disk.js';
import { loadDisk } from './disk/load.js';
import { exitCode, exitCodes } from './exit-codes.js';
import { type GuestListener, guestRoutes, listenForGuests } from './guest-service.js';
import { Holder } from './hold/hold.js';
import { codedError, errorFields, type Logger, logField } from './log.js';
import { withBackoff } from './provision/backoff.js';
import { type ExchangeOptions, exchange, type KeyInUse } from './provision/exchange.js';
import { CheckpointKeeper } from './session/checkpoints.js';
import { connectSession } from './session/client.js';
import { StatusBoard } from './status.js';

/** What the agent has of the world beside files and sockets. */
export interface AgentIo {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds that only go forward. */
  readonly monotonic: () => number;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Rejects with CvmpError CANCELLED once `stop` is aborted. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly log: Logger;
  /** Told where the agent is to end. */
  readonly stop: AbortSignal;
  /** End after the delivery. */
  readonly once: boolean;
  /** Name and version, told to Key Server and tenant. */
  readonly agentBuild: string;
}

/** What lives as long as the agent. */
interface Agent {
  readonly config: AgentConfig;
  readonly io: AgentIo;
  readonly status: StatusBoard;
  readonly configDocument: Uint8Array;
  readonly attester: Attester;
  readonly checkpoints: CheckpointKeeper;
  /** Made at the start and kept in memory alone; undefined where the evidence names the instance. */
  readonly instanceKey: EcPrivateKey | undefined;
}

/**
 * The Key Agent from start to end: obtains the key, hands it over, then serves the tenant's
 * questions and keeps its lease until it is told to stop.
 * @returns the exit code (exit-codes.ts)
 */
export async function runAgent(config: AgentConfig, io: AgentIo): Promise<number> {
  const status = new StatusBoard(io.now);
  const opened: { close(): void | Promise<void> }[] = [];
  try {
    const agent = await openAgent(config, io, status);
    opened.push(agent.attester);
    if (config.guestSocket !== undefined) opened.push(await serveGuests(agent, config.guestSocket));
    await checkOwnReport(agent.attester, io.randomBytes);
    const disk = await openDisk(agent);
    if (disk !== undefined) opened.push(disk);
    const session = exchangeOptions(agent, disk);
    const inUse = await unlessStopped(io.stop, provision(agent, session));
    if (io.once) inUse.session.close();
    else await hold(agent, session, inUse);
    return exitCodes.ok;
  } catch (caught) {
    const error = codedError(caught);
    tellEnd(error, status);
    io.log.error({ ...errorFields(error), [logField.exitCode]: exitCode(error.code) }, 'gave up');
    return exitCode(error.code);
  } finally {
    for (const part of opened.reverse()) await part.close();
  }
}

/** Evidence that names the instance by itself: by REPORT_ID, or by an AK. */
const namingInstances: readonly string[] = ['snp', 'svsm', 'azure-snp', 'azure-tdx', 'tpm'];

async function openAgent(config: AgentConfig, io: AgentIo, status: StatusBoard): Promise<Agent> {
  const configDocument = await readConfigDocument(config.configDocumentFile);
  const { randomBytes, sleep, monotonic } = io;
  const attester = await openAttester(config, { configDocument, randomBytes, sleep, monotonic });
  io.log.info({ [logField.evidence]: attester.profiles.join(' ') }, 'attester ready');
  const checkpoints = await openCheckpoints(config, io);
  const isNamed = attester.profiles.some((profile) => namingInstances.includes(profile));
  const instanceKey = isNamed ? undefined : await crypto.generateEcKey('P-256');
  return { config, io, status, configDocument, attester, checkpoints, instanceKey };
}

/** @throws CvmpError CONFIG */
async function openCheckpoints(config: AgentConfig, io: AgentIo): Promise<CheckpointKeeper> {
  await mkdir(dirname(config.checkpointFile), { recursive: true, mode: 0o700 });
  return CheckpointKeeper.open(config.checkpointFile, (error) => {
    io.log.warn(errorFields(error), 'kept checkpoints are damaged: begins to keep anew');
  });
}

/** @throws CvmpError CONFIG where there is none, CONFIG_MISMATCH where it is not one */
async function readConfigDocument(path: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await readFile(path));
  } catch (cause) {
    throw new CvmpError('CONFIG', `${path} cannot be read`, {
      cause,
      field: 'config_document_file',
    });
  }
  try {
    decodeConfigDocument(bytes);
    return bytes;
  } catch (cause) {
    throw new CvmpError('CONFIG_MISMATCH', `${path} is no config document`, { cause });
  }
}

function serveGuests(
  { attester, configDocument, io, status }: Agent,
  path: string,
): Promise<GuestListener> {
  const { agentBuild } = io;
  return listenForGuests(path, guestRoutes({ attester, configDocument, agentBuild, status }));
}

async function openDisk({ config, io }: Agent): Promise<Disk | undefined> {
  if (config.disk === undefined) return undefined;
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 });
  if (!config.allowPersistentFiles) await demandVolatile(config.stateDir);
  const disk = await loadDisk(config.disk, config.stateDir);
  io.log.info({ [logField.backend]: disk.backend }, 'disk header read');
  return disk;
}

function exchangeOptions(agent: Agent, disk: Disk | undefined): ExchangeOptions {
  const { config, io, status, configDocument, attester, checkpoints, instanceKey } = agent;
  const { randomBytes, agentBuild } = io;
  return {
    config,
    keyId: config.keyId,
    configDocument,
    disk,
    requestId: randomBytes(16),
    status,
    log: io.log,
    connect: async () => {
      const ca = config.tlsCaFile === undefined ? undefined : await readCa(config.tlsCaFile);
      const { keyServer } = config;
      return connectSession({
        keyServer,
        ca,
        attester,
        configDocument,
        agentBuild,
        randomBytes,
        checkpoints,
        instanceKey,
      });
    },
  };
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CvmpError('CONFIG', `${path} cannot be read`, { cause, field: 'tls_ca_file' });
  }
}

/** Obtains the key and hands it over; it is overwritten then. */
async function provision(agent: Agent, options: ExchangeOptions): Promise<KeyInUse> {
  const { config, io, status } = agent;
  const inUse = await untilAnswered(agent, options);
  try {
    await deliver(inUse.key, config, io.stop);
    const { keyId, svn, svnFloor, action } = inUse;
    status.enter('delivered', { keyId, svn, svnFloor, diskAction: action });
    io.log.info({ [logField.svn]: svn, [logField.diskAction]: action }, 'key delivered');
    // Nobody waits for the session of an agent that was told to end.
    if (io.stop.aborted) inUse.session.close();
    return inUse;
  } catch (error) {
    inUse.session.close();
    throw error;
  } finally {
    inUse.key.fill(0);
  }
}

/** An exchange, again and again while the Key Server cannot be reached. */
function untilAnswered({ config, io, status }: Agent, options: ExchangeOptions): Promise<KeyInUse> {
  return withBackoff(() => exchange(options), config.retry, {
    now: io.monotonic,
    random: io.random,
    sleep: io.sleep,
    onRetry: (error, delayMs) => {
      status.enter('retrying', { code: error.code, message: errorTable[error.code].meaning });
      io.log.warn({ ...errorFields(error), [logField.delayMs]: delayMs }, 'trying again');
    },
  });
}

/**
 * Holds the session until the agent is told to end. A refusal cannot take the key back from a disk
 * that is open; it is told to whoever asks, and the agent asks no more.
 * @throws CvmpError where the key is gone and the configuration says to end then
 */
async function hold(agent: Agent, options: ExchangeOptions, inUse: KeyInUse): Promise<void> {
  const { config, io, status, attester } = agent;
  const { now, random, randomBytes, sleep } = io;
  const reconnect = (keyId: Uint8Array | undefined) => untilAnswered(agent, { ...options, keyId });
  const world = { attester, now, random, randomBytes, sleep, reconnect };
  const holder = new Holder({ ...options, config, ...world }, inUse);
  try {
    await unlessStopped(io.stop, holder.run());
  } catch (caught) {
    const error = codedError(caught);
    if (error.code === 'CANCELLED') return;
    if (config.onKeyLoss === 'exit') throw error;
    tellEnd(error, status);
    io.log.error(errorFields(error), 'lease ends');
    await unlessStopped(io.stop, new Promise<never>(() => {})).catch(() => {});
  } finally {
    holder.close();
  }
}

/** @throws CvmpError CANCELLED as soon as the agent is told to end; the work is left where it is */
async function unlessStopped<T>(stop: AbortSignal, work: Promise<T>): Promise<T> {
  let cancel = () => {};
  const stopped = new Promise<never>((_, reject) => {
    cancel = () => reject(new CvmpError('CANCELLED', 'the agent was told to end'));
  });
  if (stop.aborted) cancel();
  stop.addEventListener('abort', cancel);
  try {
    return await Promise.race([work, stopped]);
  } finally {
    stop.removeEventListener('abort', cancel);
  }
}

/** The last status. */
function tellEnd({ code }: CvmpError, status: StatusBoard): void {
  const phase = exitCode(code) === exitCodes.refused ? 'refused' : 'failed';
  status.enter(phase, { code, message: errorTable[code].meaning });
}
