import type { TraceSettings } from '../observe/observation.js';
import { type Endpoint, parseEndpoint } from '../tls.js';
import type { ConfigReader } from './reader.js';

/** @returns undefined: off. @throws CvmpError CONFIG */
export function readMetrics(section: ConfigReader, port: number): Endpoint | undefined {
  const text = section.text('listen', {
    default: `127.0.0.1:${port}`,
    why: '/metrics, /livez, /readyz without TLS, for this machine; off: nowhere',
  });
  return text === 'off' ? undefined : parseEndpoint(text, section.name('listen'));
}

/** @returns undefined: off. @throws CvmpError CONFIG */
export function readTraces(section: ConfigReader): TraceSettings | undefined {
  const url = section.text('otlp_url', {
    default: 'off',
    why: 'of a collector (OTLP over HTTP): http://127.0.0.1:4318',
    pattern: /^(off|https?:\/\/[^/?#]+\/?)$/,
  });
  const settings = {
    url,
    sampleOneIn: section.integer('sample_one_in', {
      min: 1,
      max: 1_000_000,
      default: 100,
      why: 'of traces that start here; a client that traces its call is always followed',
    }),
    queueMax: section.integer('queue_spans_max', {
      min: 1,
      max: 100_000,
      default: 4096,
      why: 'each waits as some 500 bytes; what is beyond is dropped and counted',
    }),
    exportSeconds: section.integer('export_seconds', {
      min: 1,
      max: 300,
      default: 5,
      why: 'so late a collector sees a span',
    }),
    timeoutSeconds: section.integer('timeout_seconds', {
      min: 1,
      max: 60,
      default: 10,
      why: 'a collector answers within milliseconds, or is away',
    }),
  };
  return url === 'off' ? undefined : settings;
}
