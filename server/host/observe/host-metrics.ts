import { X509Certificate } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type ErrorCode, errorTable } from '#core/errors.js';
import type { CallRecord } from '../calls.js';
import type { Observation } from './observation.js';

/** What host.ts tells, and what is read of it. */
export interface HostReadings {
  readonly callsOpen: () => number;
  readonly connections: () => Iterable<readonly [port: string, open: number]>;
  /** PEM of the certificate that new connections see. */
  readonly certificate: () => string;
}

export interface HostMetrics {
  readonly onCall: (record: CallRecord) => void;
  /** A TLS handshake that came to nothing. */
  readonly failed: (port: 'grpc' | 'web') => void;
  close(): void;
}

const nanoseconds = 1e9;

/** Declares what every server of ours counts. */
export function hostMetrics(observation: Observation, readings: HostReadings): HostMetrics {
  const { metrics } = observation;
  const calls = metrics.counters('cvmp_calls_total', 'Calls that ended, by method and code.', [
    'method',
    'code',
  ]);
  const seconds = metrics.histograms(
    'cvmp_call_seconds',
    'How long calls took; of streams, how long they stayed.',
    ['method'],
  );
  const failed = metrics.counters(
    'cvmp_tls_handshakes_failed_total',
    'TLS handshakes that came to nothing.',
    ['port'],
  );
  metrics.gauge('cvmp_calls_open', 'Calls and streams that are open now.', readings.callsOpen);
  metrics.gauges('cvmp_connections', 'Connections that are open now.', ['port'], function* () {
    for (const [port, open] of readings.connections()) yield [[port], open];
  });
  metrics.gauge(
    'cvmp_tls_certificate_expiry_timestamp_seconds',
    'When the certificate that new connections see ends.',
    () => expiry(readings.certificate()),
  );
  readinessMetrics(observation);
  const lag = processMetrics(observation);
  return {
    onCall: ({ method, code, durationMs }) => {
      calls(method, code).add();
      seconds(method).observe(durationMs / 1000);
    },
    failed: (port) => failed(port).add(),
    close: () => lag.disable(),
  };
}

function readinessMetrics({ metrics, readiness }: Observation): void {
  const flag = (value: boolean) => (value ? 1 : 0);
  metrics.gauge('cvmp_ready', '1: calls are served.', () => flag(readiness.isReady));
  const codes = Object.keys(errorTable) as ErrorCode[];
  metrics.gauges(
    'cvmp_not_ready',
    '1 for each reason why calls are not served: SEALED, STORE_WRITE, SHUTTING_DOWN.',
    ['reason'],
    function* () {
      for (const code of codes) if (readiness.reasons.includes(code)) yield [[code], 1];
    },
  );
}

/** Samples of the event loop's delay are taken every so many milliseconds. */
const lagResolution = 20;

function processMetrics({ metrics }: Observation) {
  const lag = monitorEventLoopDelay({ resolution: lagResolution });
  lag.enable();
  // The histogram measures the whole distance between two samples.
  const late = (value: number) => Math.max(0, value / nanoseconds - lagResolution / 1000);
  metrics.gauge('cvmp_event_loop_lag_p99_seconds', 'Of the time since the last scrape.', () =>
    lag.count === 0 ? undefined : late(lag.percentile(99)),
  );
  metrics.gauge('cvmp_event_loop_lag_max_seconds', 'Of the time since the last scrape.', () => {
    const max = lag.count === 0 ? undefined : late(lag.max);
    lag.reset();
    return max;
  });
  metrics.counted('cvmp_process_cpu_seconds_total', 'Processor time of this process.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge('cvmp_process_resident_memory_bytes', 'Memory of this process.', () =>
    process.memoryUsage.rss(),
  );
  metrics.gauge(
    'cvmp_process_heap_bytes',
    'Of it, what JavaScript objects take.',
    () => process.memoryUsage().heapUsed,
  );
  const started = Math.floor(Date.now() / 1000 - process.uptime());
  metrics.gauge('cvmp_process_start_time_seconds', 'When this process started.', () => started);
  return lag;
}

/** Seconds since 1970. */
function expiry(pem: string): number {
  return Math.floor(Date.parse(new X509Certificate(pem).validTo) / 1000);
}
