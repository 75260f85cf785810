import type { Logger } from 'pino';
import { logField } from '../log.js';
import type { FinishedSpan } from './trace.js';

export interface OtlpSettings {
  /** Of an OTLP/HTTP collector, without path: "http://127.0.0.1:4318". */
  readonly url: string;
  readonly exportSeconds: number;
  readonly timeoutSeconds: number;
  /** Spans that wait; what is beyond is dropped and counted. */
  readonly queueMax: number;
}

export interface OtlpParts {
  /** service.name. */
  readonly service: string;
  readonly log: Logger;
  readonly dropped: (spans: number) => void;
}

const batchMax = 512;
const kinds = { internal: 1, server: 2 } as const;

/**
 * Sends spans to a collector as OTLP/HTTP with JSON (opentelemetry-proto 1.x), some seconds after
 * they ended. A collector that is away costs spans, never a call.
 */
export class OtlpExporter {
  readonly #settings: OtlpSettings;
  readonly #parts: OtlpParts;
  readonly #timer: NodeJS.Timeout;
  #queue: FinishedSpan[] = [];
  #sending: Promise<void> = Promise.resolve();

  constructor(settings: OtlpSettings, parts: OtlpParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#timer = setInterval(() => void this.flush(), settings.exportSeconds * 1000).unref();
  }

  add(span: FinishedSpan): void {
    if (this.#queue.length >= this.#settings.queueMax) this.#parts.dropped(1);
    else this.#queue.push(span);
  }

  /** Sends what waits. */
  flush(): Promise<void> {
    this.#sending = this.#sending.then(async () => {
      while (this.#queue.length > 0) await this.#send(this.#queue.splice(0, batchMax));
    });
    return this.#sending;
  }

  /** Sends what waits, then no more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #send(spans: readonly FinishedSpan[]): Promise<void> {
    const { url, timeoutSeconds } = this.#settings;
    try {
      const answer = await fetch(new URL('/v1/traces', url), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(tracesData(this.#parts.service, spans)),
        signal: AbortSignal.timeout(timeoutSeconds * 1000),
      });
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`the collector answered ${answer.status}`);
    } catch (error) {
      this.#parts.dropped(spans.length);
      this.#parts.log.warn({ [logField.reason]: (error as Error).message }, 'spans not sent');
    }
  }
}

/** ExportTraceServiceRequest in its JSON form: ids in hex, 64-bit numbers as text. */
function tracesData(service: string, spans: readonly FinishedSpan[]) {
  return {
    resourceSpans: [
      {
        resource: { attributes: [attribute('service.name', service)] },
        scopeSpans: [{ scope: { name: 'cvmp' }, spans: spans.map(spanData) }],
      },
    ],
  };
}

function spanData(span: FinishedSpan) {
  const { traceId, spanId, parentId, kind, name, start, end, attributes, failed } = span;
  return {
    traceId,
    spanId,
    ...(parentId === undefined ? {} : { parentSpanId: parentId }),
    name,
    kind: kinds[kind],
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(end),
    attributes: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    status: failed ? { code: 2, message: String(attributes['cvmp.code'] ?? '') } : { code: 1 },
  };
}

function attribute(key: string, value: string | number) {
  return {
    key,
    value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value },
  };
}

function nanoseconds(milliseconds: number): string {
  return String(BigInt(Math.round(milliseconds * 1000)) * 1000n);
}
