import type { Logger } from 'pino';
import type { EcPublicKey } from '#core/cose/key.js';
import { createAuthenticator } from '../callers/authenticate.js';
import { CallRates, type RateSettings } from '../callers/rates.js';
import type { TenantRegistry } from '../callers/tenants.js';
import type { GrpcLimits } from '../grpc/listener.js';
import type { BoundService } from '../handlers.js';
import type { HostOptions, LiveHostOptions } from '../host.js';
import { createLog, type LogLevel } from '../log.js';
import type { Observation, TraceSettings } from '../observe/observation.js';
import { type Endpoint, parseEndpoint } from '../tls.js';
import type { WebLimits } from '../web/listener.js';
import { type CallerSettings, loadIssuers, readCallers } from './callers.js';
import { readPublicKey, readTls, type TlsFiles } from './files.js';
import { readMetrics, readTraces } from './observing.js';
import type { ConfigReader } from './reader.js';

/** What every server's configuration file holds beside its own entries. */
export interface HostSettings {
  /** Name of this server: audience of tokens, `name` in the log. */
  readonly name: string;
  readonly logLevel: LogLevel;
  readonly logLinesPerMinuteMax: number;
  readonly grpc: { readonly endpoint: Endpoint; readonly limits: GrpcLimits };
  readonly web: {
    readonly endpoint: Endpoint;
    readonly limits: WebLimits;
    readonly origins: readonly string[];
  };
  /** Metrics and health without TLS; undefined: off. */
  readonly observe: Endpoint | undefined;
  /** undefined: off. */
  readonly traces: TraceSettings | undefined;
  readonly tls: TlsFiles;
  /** Files with operators' public keys: COSE_Key, base64url in one line. */
  readonly operatorKeyFiles: readonly string[];
  readonly callers: CallerSettings;
  readonly unarySecondsMax: number;
  readonly shutdownNoticeSeconds: number;
  readonly shutdownGraceSeconds: number;
}

export interface HostDefaults {
  readonly name: string;
  readonly grpcPort: number;
  readonly webPort: number;
  readonly metricsPort: number;
  /** Largest message that this server reads or sends. */
  readonly messageBytesMax: number;
}

/** The entries that both servers share. @throws CvmpError CONFIG */
export function readHostSettings(config: ConfigReader, defaults: HostDefaults): HostSettings {
  const name = config.text('name', {
    default: defaults.name,
    why: 'the audience that tokens for this server name',
    pattern: /^[a-z0-9][a-z0-9-]{0,62}$/,
  });
  return {
    name,
    logLevel: config.choice('log_level', ['debug', 'info', 'warn', 'error', 'silent'], {
      default: 'info',
      why: 'one line for each call',
      live: true,
    }),
    logLinesPerMinuteMax: config.integer('log_lines_per_minute_max', {
      min: 1,
      max: 10_000_000,
      default: 6000,
      why: 'of lines that are alike: a flood of refusals must not fill the disk',
    }),
    tls: config.section('tls', (tls) => ({
      certificateFile: tls.path('certificate_file', {
        default: 'tls.crt',
        why: 'beside this file, where init puts it',
        live: true,
      }),
      keyFile: tls.path('key_file', {
        default: 'tls.key',
        why: 'beside this file, where init puts it',
        live: true,
      }),
    })),
    grpc: config.section('grpc', (grpc) => ({
      endpoint: readEndpoint(grpc, defaults.grpcPort),
      limits: readGrpcLimits(grpc, defaults),
    })),
    web: config.section('web', (web) => ({
      endpoint: readEndpoint(web, defaults.webPort),
      origins: web.texts('origins', {
        max: 64,
        default: [],
        why: 'pages of other origins may not call',
        live: true,
      }),
      limits: readWebLimits(web, defaults),
    })),
    observe: config.section('metrics', (metrics) => readMetrics(metrics, defaults.metricsPort)),
    traces: config.section('traces', readTraces),
    operatorKeyFiles: config.paths('operator_key_files', {
      max: 64,
      default: [],
      why: 'without one nobody can register tenants',
      live: true,
    }),
    callers: config.section('callers', (callers) => readCallers(callers, name)),
    unarySecondsMax: config.integer('unary_seconds_max', {
      min: 1,
      max: 3600,
      default: 60,
      why: 'no single answer takes longer unless something is stuck',
      live: true,
    }),
    shutdownNoticeSeconds: config.integer('shutdown_notice_seconds', {
      min: 0,
      max: 300,
      default: 0,
      why: 'raise it where a balancer polls health: so long calls are taken after NOT_SERVING',
      live: true,
    }),
    shutdownGraceSeconds: config.integer('shutdown_grace_seconds', {
      min: 0,
      max: 600,
      default: 10,
      why: 'shorter than the 90 s that service managers wait',
      live: true,
    }),
  };
}

function readEndpoint(section: ConfigReader, port: number): Endpoint {
  const text = section.text('listen', {
    default: `127.0.0.1:${port}`,
    why: 'reachable from this machine only, until you say otherwise',
  });
  return parseEndpoint(text, section.name('listen'));
}

function readGrpcLimits(section: ConfigReader, defaults: HostDefaults): GrpcLimits {
  return {
    ...readConnectionLimits(section, defaults),
    handshakesPerMinuteMax: section.integer('handshakes_per_minute_max', {
      min: 1,
      max: 1_000_000,
      default: 1200,
      why: 'of one address: a full host of CVMs that starts again, thrice over',
      live: true,
    }),
    keepaliveSeconds: section.integer('keepalive_seconds', {
      min: 10,
      max: 3600,
      default: 60,
      why: 'finds dead peers before firewalls forget the connection',
    }),
    keepaliveTimeoutSeconds: section.integer('keepalive_timeout_seconds', {
      min: 1,
      max: 300,
      default: 20,
      why: 'a live peer answers a ping within it',
    }),
  };
}

function readWebLimits(section: ConfigReader, defaults: HostDefaults): WebLimits {
  return {
    ...readConnectionLimits(section, defaults),
    timeoutSecondsMax: section.integer('timeout_seconds_max', {
      min: 1,
      max: 86400,
      default: 3600,
      why: 'a client that watches asks again after an hour',
    }),
  };
}

function readConnectionLimits(section: ConfigReader, defaults: HostDefaults) {
  return {
    connectionsMax: section.integer('connections_max', {
      min: 1,
      max: 100_000,
      default: 4096,
      why: 'below the usual limit of open files',
      live: true,
    }),
    streamsPerConnectionMax: section.integer('streams_per_connection_max', {
      min: 1,
      max: 10_000,
      default: 128,
      why: 'what HTTP/2 advises (RFC 9113 s.6.5.2), and then some',
    }),
    messageBytesMax: section.integer('message_bytes_max', {
      min: 1024,
      max: 64 * 1024 * 1024,
      default: defaults.messageBytesMax,
      why: 'the largest message that proto/ admits',
    }),
    handshakeSeconds: section.integer('handshake_seconds', {
      min: 1,
      max: 120,
      default: 10,
      why: 'a TLS handshake takes milliseconds',
    }),
    idleSeconds: section.integer('idle_seconds', {
      min: 1,
      max: 86400,
      default: 300,
      why: 'a client that comes back pays 2 ms for a new handshake',
    }),
  };
}

/** What a server brings to its host. */
export interface HostParts {
  readonly services: readonly BoundService[];
  readonly tenants: Pick<TenantRegistry, 'get'>;
  readonly log: Logger;
  readonly observation: Observation;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Settings and parts as {@link startHost} takes them. @throws CvmpError CONFIG */
export function hostOptions(settings: HostSettings, parts: HostParts): HostOptions {
  const { services, observation, log, now } = parts;
  const { observe, callers } = settings;
  const { clientCertificates } = callers;
  const rates = (of: () => RateSettings) => new CallRates(of, parts.tenants, now);
  const fixed = { clientCertificates, rates, services, observation, observe, log, now };
  return { ...liveHostOptions(settings, parts), ...fixed };
}

/** The same of what may change while the server runs. @throws CvmpError CONFIG */
export function liveHostOptions(
  settings: HostSettings,
  { tenants, now }: Pick<HostParts, 'tenants' | 'now'>,
): LiveHostOptions {
  const { grpc, web, unarySecondsMax } = settings;
  const authenticate = createAuthenticator({
    audience: settings.name,
    operatorKeys: loadOperatorKeys(settings),
    issuers: loadIssuers(settings.callers),
    tenants,
    now,
  });
  const callRates = settings.callers.rates;
  return { authenticate, tls: readTls(settings.tls), grpc, web, unarySecondsMax, callRates };
}

/** @throws CvmpError CONFIG */
export function loadOperatorKeys(settings: HostSettings): EcPublicKey[] {
  return settings.operatorKeyFiles.map((file, i) =>
    readPublicKey(file, `operator_key_files[${i}]`),
  );
}

/** The log that a server writes with these settings. @param now milliseconds */
export function openLog(settings: HostSettings, now: () => number): Logger {
  const perMinuteMax = settings.logLinesPerMinuteMax;
  return createLog(settings.name, settings.logLevel, undefined, { perMinuteMax, now });
}
