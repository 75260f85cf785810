import type { Logger } from 'pino';
import { crypto } from '#crypto';
import { Metrics } from './metrics.js';
import { OtlpExporter, type OtlpSettings } from './otlp.js';
import { Readiness } from './readiness.js';
import { Tracer } from './trace.js';

/** What a server says of itself while it runs, beside its log. */
export interface Observation {
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  /** undefined: nobody wants traces. */
  readonly tracer: Tracer | undefined;
  /** Sends what still waits to be sent. */
  close(): Promise<void>;
}

export interface TraceSettings extends OtlpSettings {
  readonly sampleOneIn: number;
}

export interface ObservationParts {
  /** Name of the server. */
  readonly service: string;
  readonly log: Logger;
}

/** @param traces undefined: off */
export function createObservation(
  traces?: TraceSettings | undefined,
  parts?: ObservationParts,
): Observation {
  const metrics = new Metrics();
  const readiness = new Readiness();
  if (traces === undefined || parts === undefined) {
    return { metrics, readiness, tracer: undefined, close: async () => undefined };
  }
  const dropped = metrics.counter('cvmp_trace_spans_dropped_total', 'Spans that were not sent.');
  const exporter = new OtlpExporter(traces, { ...parts, dropped: (spans) => dropped.add(spans) });
  const tracer = new Tracer({
    sampleOneIn: traces.sampleOneIn,
    finished: (span) => exporter.add(span),
    randomBytes: crypto.randomBytes,
    now: () => performance.timeOrigin + performance.now(),
  });
  return { metrics, readiness, tracer, close: () => exporter.close() };
}
