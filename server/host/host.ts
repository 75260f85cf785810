import { setTimeout as delay } from 'node:timers/promises';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import { demandAccess } from './callers/access.js';
import type { Authenticate } from './callers/authenticate.js';
import type { CallRates, RateSettings } from './callers/rates.js';
import { type CallRecord, Calls } from './calls.js';
import { type GrpcLimits, type Listener, listenGrpc } from './grpc/listener.js';
import type { BoundService } from './handlers.js';
import { logField } from './log.js';
import { hostMetrics } from './observe/host-metrics.js';
import { listenObservation } from './observe/listener.js';
import { createObservation, type Observation } from './observe/observation.js';
import type { Readiness } from './observe/readiness.js';
import { type ClientCertificates, checkTls, type Endpoint, type TlsIdentity } from './tls.js';
import { listenWeb, type WebLimits } from './web/listener.js';

export interface HostOptions extends LiveHostOptions {
  /** On which ports a client certificate is asked for (never demanded). */
  readonly clientCertificates: ClientCertificates;
  /** Absent: nobody is held back. */
  readonly rates?: (settings: () => RateSettings) => CallRates;
  readonly services: readonly BoundService[];
  /** Made by the program that wants to count things of its own; absent: counts for nobody. */
  readonly observation?: Observation;
  /** Where metrics and health are served without TLS; absent: nowhere. */
  readonly observe?: Endpoint | undefined;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onCall?: (record: CallRecord) => void;
}

/** What of the options may change while a server runs; endpoints stay as they were. */
export interface LiveHostOptions {
  readonly authenticate: Authenticate;
  readonly tls: TlsIdentity;
  readonly grpc: { readonly endpoint: Endpoint; readonly limits: GrpcLimits };
  readonly web: {
    readonly endpoint: Endpoint;
    readonly limits: WebLimits;
    readonly origins: readonly string[];
  };
  /** How long a unary call may take. */
  readonly unarySecondsMax: number;
  /** What `rates` of the options counts against. */
  readonly callRates: RateSettings;
}

/** The ports of a running server. */
export interface Host {
  /** "host:port". */
  readonly grpcAddress: string;
  readonly webAddress: string;
  readonly observeAddress: string | undefined;
  /** What grpc.health.v1 and /readyz say. */
  readonly readiness: Readiness;
  /**
   * From now on another certificate for new connections, other callers, origins, time of a unary
   * call, and most connections and handshakes. What is open goes on.
   * @throws CvmpError CONFIG where key and certificate do not fit; then nothing has changed
   */
  apply(options: LiveHostOptions): void;
  /**
   * Says that it is not ready, waits for balancers to notice, takes no more calls, lets what is
   * under way finish, ends the rest. When it resolves no handler runs any more, so stores may be
   * closed.
   * @param noticeSeconds how long calls are still taken after it said so
   */
  stop(graceSeconds: number, noticeSeconds?: number): Promise<void>;
}

/** How long a handler has to notice that its call was aborted. */
const forceSeconds = 5;

/** @throws TypeError where a method is not in the table of access; CvmpError CONFIG */
export async function startHost(options: HostOptions): Promise<Host> {
  const { services, log, tls } = options;
  demandAccess(
    services.map((bound) => bound.service),
    'port',
  );
  const observation = options.observation ?? createObservation();
  const { readiness } = observation;
  let live: LiveHostOptions = options;
  const ports = new Map<'grpc' | 'web', Listener>();
  const counts = hostMetrics(observation, {
    callsOpen: () => calls.openCount,
    connections: () => [...ports].map(([port, listener]) => [port, listener.connections()]),
    certificate: () => live.tls.certificate,
  });
  const calls = new Calls({
    log,
    authenticate: (credentials) => live.authenticate(credentials),
    rates: options.rates?.(() => live.callRates),
    unaryMillisecondsMax: () => live.unarySecondsMax * 1000,
    now: options.now,
    tracer: observation.tracer,
    onCall: (record) => {
      counts.onCall(record);
      options.onCall?.(record);
    },
  });
  const health = healthService(services, readiness);
  const observer = options.observe && (await listenObservation(observation, options.observe));
  const close = async () => {
    for (const listener of ports.values()) listener.drain();
    await Promise.all([...ports.values()].map((listener) => listener.close()));
    await observer?.close();
    counts.close();
  };
  const shared = { services, calls, log, tls, health, readiness };
  const asks = {
    grpc: { asksCertificate: options.clientCertificates !== 'none' },
    web: { asksCertificate: options.clientCertificates === 'both' },
  };
  const failed = (port: 'grpc' | 'web') => ({ handshakeFailed: () => counts.failed(port) });
  try {
    ports.set(
      'grpc',
      await listenGrpc({ ...shared, ...options.grpc, ...asks.grpc, ...failed('grpc') }),
    );
    ports.set('web', await listenWeb({ ...shared, ...options.web, ...asks.web, ...failed('web') }));
  } catch (error) {
    await close();
    throw error;
  }
  const addressOf = (port: 'grpc' | 'web') => ports.get(port)?.address ?? '';
  for (const [port, { address }] of ports)
    log.info({ [logField.address]: address }, `${port} port open`);
  if (observer !== undefined)
    log.info({ [logField.address]: observer.address }, 'observe port open');

  return {
    grpcAddress: addressOf('grpc'),
    webAddress: addressOf('web'),
    observeAddress: observer?.address,
    readiness,
    apply(next) {
      checkTls(next.tls);
      live = next;
      ports.get('grpc')?.apply(next.tls, next.grpc);
      ports.get('web')?.apply(next.tls, next.web);
    },
    async stop(graceSeconds, noticeSeconds = 0) {
      readiness.set('SHUTTING_DOWN', true);
      if (noticeSeconds > 0) await delay(noticeSeconds * 1000);
      for (const listener of ports.values()) listener.drain();
      calls.drain();
      await within(graceSeconds, calls.idle());
      calls.abort();
      await within(forceSeconds, calls.idle());
      await close();
    },
  };
}

/** grpc.health.v1: the server by the empty name, and each service. */
function healthService(services: readonly BoundService[], readiness: Readiness) {
  const health = new HealthImplementation();
  const names = ['', ...services.map((bound) => bound.service.typeName)];
  const tell = (isReady: boolean) => {
    for (const name of names) health.setStatus(name, isReady ? 'SERVING' : 'NOT_SERVING');
  };
  tell(readiness.isReady);
  readiness.onChange(tell);
  return health;
}

async function within(seconds: number, work: Promise<void>): Promise<void> {
  const timer = new AbortController();
  await Promise.race([
    work,
    delay(seconds * 1000, undefined, { signal: timer.signal }).catch(() => undefined),
  ]);
  timer.abort();
}
