import { setTimeout as delay } from 'node:timers/promises';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import { demandAccess } from './callers/access.js';
import type { Authenticate } from './callers/authenticate.js';
import { type CallRecord, Calls } from './calls.js';
import { type GrpcLimits, listenGrpc } from './grpc/listener.js';
import type { BoundService } from './handlers.js';
import { logField } from './log.js';
import type { Endpoint, TlsIdentity } from './tls.js';
import { listenWeb, type WebLimits } from './web/listener.js';

export interface HostOptions {
  readonly services: readonly BoundService[];
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
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onCall?: (record: CallRecord) => void;
}

/** Both ports of a running server. */
export interface Host {
  /** "host:port". */
  readonly grpcAddress: string;
  readonly webAddress: string;
  /** What grpc.health.v1 and /healthz say; SERVING from the start. */
  setServing(serving: boolean): void;
  /**
   * Says NOT_SERVING, takes no more calls, lets unary calls finish for so long, ends the rest.
   * When it resolves no handler runs any more, so stores may be closed.
   */
  stop(graceSeconds: number): Promise<void>;
}

/** How long a handler has to notice that its call was aborted. */
const forceSeconds = 5;

async function within(seconds: number, work: Promise<void>): Promise<void> {
  const timer = new AbortController();
  await Promise.race([
    work,
    delay(seconds * 1000, undefined, { signal: timer.signal }).catch(() => undefined),
  ]);
  timer.abort();
}

/** @throws TypeError where a method is not in the table of access; CvmpError CONFIG */
export async function startHost(options: HostOptions): Promise<Host> {
  demandAccess(
    options.services.map((bound) => bound.service),
    'port',
  );
  const { services, tls, log } = options;
  const calls = new Calls({
    log,
    authenticate: options.authenticate,
    now: options.now,
    unaryMillisecondsMax: options.unarySecondsMax * 1000,
    onCall: options.onCall,
  });
  const health = new HealthImplementation();
  const names = ['', ...services.map((bound) => bound.service.typeName)];
  let serving = true;
  const setServing = (value: boolean) => {
    serving = value;
    for (const name of names) health.setStatus(name, value ? 'SERVING' : 'NOT_SERVING');
  };
  setServing(true);

  const grpc = await listenGrpc({ ...options.grpc, tls, services, calls, health, log });
  const web = await listenWeb({
    ...options.web,
    tls,
    services,
    calls,
    serving: () => serving,
    log,
  }).catch(async (error) => {
    grpc.drain();
    await grpc.close();
    throw error;
  });
  log.info({ [logField.address]: grpc.address }, 'grpc port open');
  log.info({ [logField.address]: web.address }, 'web port open');

  return {
    grpcAddress: grpc.address,
    webAddress: web.address,
    setServing,
    async stop(graceSeconds) {
      setServing(false);
      grpc.drain();
      web.drain();
      calls.abort('streams');
      await within(graceSeconds, calls.idle());
      calls.abort('all');
      await within(forceSeconds, calls.idle());
      await Promise.all([grpc.close(), web.close()]);
    },
  };
}
