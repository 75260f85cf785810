import { toHex } from '#core/bytes.js';
import { codeOf } from '../status.js';

/**
 * What a span may say. Values are numbers, codes, names of methods and formats, and the request id,
 * which this server makes: never what a peer sent, and no name of a tenant, CVM or key.
 */
export type SpanAttribute =
  | 'rpc.system'
  | 'rpc.method'
  | 'cvmp.request_id'
  | 'cvmp.code'
  | 'cvmp.format'
  | 'cvmp.operations';

export type SpanAttributes = Partial<Record<SpanAttribute, string | number>>;

/** Something that takes time, inside something else that does. */
export interface Span {
  /** Of the whole trace, 32 hex digits. */
  readonly traceId: string;
  child(name: string, attributes?: SpanAttributes): Span;
  /** Adds to what the span says. */
  set(attributes: SpanAttributes): void;
  /** Only the first call counts. @param code undefined, OK: it went well */
  end(code?: string): void;
}

/** A span that has ended. Times are milliseconds since the epoch, with fractions. */
export interface FinishedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly kind: 'server' | 'internal';
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly attributes: SpanAttributes;
  readonly failed: boolean;
}

export interface TracerOptions {
  /** Of traces that start here, one in so many is recorded. */
  readonly sampleOneIn: number;
  /** Takes spans that ended. Must not throw. */
  readonly finished: (span: FinishedSpan) => void;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Milliseconds since the epoch, with fractions. */
  readonly now: () => number;
}

/** Where a trace comes from (W3C Trace Context s.3.2). */
export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
}

/** Reads `traceparent`; undefined where it is not one, as the standard asks. */
export function readTraceParent(header: string | undefined): TraceParent | undefined {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(
    header ?? '',
  );
  if (match === null) return undefined;
  const [, version = '', traceId = '', spanId = '', flags = '', rest] = match;
  const known = version !== 'ff' && (version !== '00' || rest === undefined);
  if (!known || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Starts traces. */
export class Tracer {
  readonly #options: TracerOptions;
  #started = 0;

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  /**
   * The span of a call.
   * @param traceparent as the client sent it; it decides whether its trace is recorded
   * @returns undefined where it is not
   */
  server(name: string, traceparent: string | undefined): Span | undefined {
    const parent = readTraceParent(traceparent);
    if (!(parent?.isSampled ?? this.#sampled())) return undefined;
    const traceId = parent?.traceId ?? this.#id(16);
    return this.#start({ traceId, parentId: parent?.spanId, kind: 'server', name });
  }

  /** Something that no single call caused, in a trace of its own, just over. */
  past(name: string, seconds: number, attributes: SpanAttributes): void {
    if (!this.#sampled()) return;
    const end = this.#options.now();
    this.#options.finished({
      traceId: this.#id(16),
      spanId: this.#id(8),
      parentId: undefined,
      kind: 'internal',
      name,
      start: end - seconds * 1000,
      end,
      attributes,
      failed: false,
    });
  }

  #start(at: Pick<FinishedSpan, 'traceId' | 'parentId' | 'kind' | 'name'>): Span {
    const { finished, now } = this.#options;
    const { traceId } = at;
    const spanId = this.#id(8);
    const start = now();
    const attributes: SpanAttributes = {};
    let ended = false;
    return {
      traceId,
      child: (name, more) => {
        const child = this.#start({ traceId, parentId: spanId, kind: 'internal', name });
        if (more !== undefined) child.set(more);
        return child;
      },
      set: (more) => void Object.assign(attributes, more),
      end: (code = 'OK') => {
        if (ended) return;
        ended = true;
        attributes['cvmp.code'] = code;
        finished({ ...at, spanId, start, end: now(), attributes, failed: code !== 'OK' });
      },
    };
  }

  #sampled(): boolean {
    this.#started += 1;
    return this.#started % this.#options.sampleOneIn === 0;
  }

  #id(length: 8 | 16): string {
    return toHex(this.#options.randomBytes(length));
  }
}

/** Runs work inside a span of its own, where there is one around it. */
export async function traced<T>(
  parent: Span | undefined,
  name: string,
  work: () => T | Promise<T>,
): Promise<T> {
  if (parent === undefined) return work();
  const span = parent.child(name);
  try {
    const result = await work();
    span.end();
    return result;
  } catch (error) {
    span.end(codeOf(error));
    throw error;
  }
}
