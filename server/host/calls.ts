import { randomBytes } from 'node:crypto';
import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { readMessage } from '#wire/validate.js';
import { authorize, needsToken } from './callers/access.js';
import type { Authenticate, Credentials } from './callers/authenticate.js';
import type { CallRates } from './callers/rates.js';
import type { BoundMethod, CallContext, Caller } from './handlers.js';
import { errorFields, logField } from './log.js';
import type { Span, Tracer } from './observe/trace.js';
import { codeOf, type PeerStatus, peerStatus } from './status.js';

/** One finished call, for whoever keeps records of calls. */
export interface CallRecord {
  readonly requestId: string;
  readonly method: string;
  readonly peer: string;
  readonly caller: Caller;
  /** Stable code, or OK. */
  readonly code: string;
  readonly durationMs: number;
}

export interface CallsOptions {
  readonly log: Logger;
  readonly authenticate: Authenticate;
  /** Absent: nobody is held back (the local socket). */
  readonly rates?: CallRates | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long a unary call may take where its client asks for no less. */
  readonly unaryMillisecondsMax: () => number;
  readonly onCall?: ((record: CallRecord) => void) | undefined;
  /** Absent: calls are not traced. */
  readonly tracer?: Tracer | undefined;
}

/** What an adapter knows when a call arrives. */
export interface Incoming {
  /** As methodName() gives it. */
  readonly method: string;
  readonly peer: string;
  /** Whether its answer is a stream, which has no end of its own. */
  readonly streams: boolean;
  readonly credentials: Credentials;
  /** W3C Trace Context of its client. */
  readonly traceparent?: string | undefined;
  readonly exportKeyingMaterial?: CallContext['exportKeyingMaterial'];
}

const anonymous: Caller = { role: 'anonymous' };

/** Everything that happens to a call whichever way it came: admission, deadline, errors, log. */
export class Calls {
  readonly options: CallsOptions;
  readonly #open = new Set<Call>();
  #draining = false;
  #idle: (() => void) | undefined;

  constructor(options: CallsOptions) {
    this.options = options;
  }

  begin(incoming: Incoming): Call {
    const call = new Call(this.options, incoming, () => {
      this.#open.delete(call);
      if (this.#open.size === 0) this.#idle?.();
    });
    this.#open.add(call);
    if (this.#draining) call.abort(shuttingDown());
    return call;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /**
   * Calls that come from now on are refused with SHUTTING_DOWN, which clients try elsewhere. Unary
   * ones that are open finish; streams end as soon as what is in flight on them is answered.
   */
  drain(): void {
    this.#draining = true;
    for (const call of [...this.#open]) if (call.streams) call.drain();
  }

  /** Ends what is still open. */
  abort(): void {
    for (const call of [...this.#open]) call.abort(shuttingDown());
  }

  /** Resolves when no call is open. */
  idle(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}

/** One call from its arrival to its end. */
export class Call implements CallContext {
  readonly requestId = toHex(randomBytes(8));
  readonly method: string;
  readonly peer: string;
  readonly streams: boolean;
  readonly exportKeyingMaterial: CallContext['exportKeyingMaterial'];
  readonly span: Span | undefined;
  caller: Caller = anonymous;
  /** A handler has it, and will finish it. */
  running = false;
  readonly #options: CallsOptions;
  readonly #credentials: Credentials;
  readonly #closed: () => void;
  readonly #startMs: number;
  #log: Logger | undefined;
  #controller: AbortController | undefined;
  #abortReason: CvmpError | undefined;
  #ended = false;

  constructor(options: CallsOptions, incoming: Incoming, closed: () => void) {
    this.method = incoming.method;
    this.peer = incoming.peer;
    this.streams = incoming.streams;
    this.exportKeyingMaterial = incoming.exportKeyingMaterial;
    this.#credentials = incoming.credentials;
    this.#options = options;
    this.#closed = closed;
    this.#startMs = performance.now();
    this.span = options.tracer?.server(incoming.method, incoming.traceparent);
  }

  get log(): Logger {
    this.#log ??= this.#options.log.child({
      [logField.requestId]: this.requestId,
      [logField.method]: this.method,
      [logField.peer]: this.peer,
      ...(this.span === undefined ? {} : { [logField.traceId]: this.span.traceId }),
    });
    return this.#log;
  }

  /** Made when first asked for: a signal per call is a visible part of a small call's cost. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#abortReason !== undefined;
  }

  abort(reason: CvmpError): void {
    if (this.#abortReason !== undefined || this.#ended) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  /** Set by who serves the stream: answers what is in flight, then ends it. */
  onDrain: ((error: CvmpError) => void) | undefined;

  /** Asks a stream to come to its end. */
  drain(): void {
    if (this.onDrain === undefined) this.abort(shuttingDown());
    else this.onDrain(shuttingDown());
  }

  /**
   * Who calls, and whether they may.
   * @throws CvmpError as Authenticate; NOT_ALLOWED, RATE, SHUTTING_DOWN
   */
  async admit(): Promise<void> {
    if (this.#abortReason !== undefined) throw this.#abortReason;
    if (needsToken(this.method)) this.caller = await this.#authenticate();
    authorize(this.method, this.caller);
  }

  async #authenticate(): Promise<Caller> {
    const { rates, authenticate } = this.#options;
    rates?.admitAddress(this.peer);
    let caller: Caller;
    try {
      caller = await authenticate(this.#credentials);
    } catch (error) {
      rates?.refused(this.peer);
      throw error;
    }
    await rates?.admitCaller(caller);
    return caller;
  }

  /** See CallContext. */
  get attestationCost(): CallContext['attestationCost'] {
    const { rates } = this.#options;
    return {
      admit: (cost) => rates?.admitAttestation(this.peer, cost),
      failed: (cost) => rates?.attestationFailed(this.peer, cost),
    };
  }

  /** Reads, runs and answers a unary call that was admitted. */
  async unary(
    bound: Extract<BoundMethod, { kind: 'unary' }>,
    request: Uint8Array | MessageShape<DescMessage>,
  ): Promise<MessageShape<DescMessage>> {
    const message =
      request instanceof Uint8Array ? readMessage(bound.method.input, request) : request;
    const answer = await this.#withinDeadline(bound.handler(message, this));
    return create(bound.method.output, answer);
  }

  async #withinDeadline<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new CvmpError('DEADLINE', 'the handler took too long');
        this.abort(error);
        reject(error);
      }, this.#options.unaryMillisecondsMax());
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Ends the call: one log line, one record. Gives what the peer is told, undefined for success.
   * Only the first call counts.
   */
  finish(error?: unknown): PeerStatus | undefined {
    const reason = this.#reason(error);
    if (!this.#ended) {
      this.#ended = true;
      this.#record(reason);
      this.#closed();
    }
    return reason === undefined ? undefined : peerStatus(reason, this.caller, this.requestId);
  }

  /** What a handler throws after its peer left or its deadline passed is only an echo of that. */
  #reason(error: unknown): unknown {
    if (error === undefined || error instanceof CvmpError) return error;
    return this.#abortReason ?? error;
  }

  #record(error: unknown): void {
    const code = error === undefined ? 'OK' : codeOf(error);
    const durationMs = Math.round((performance.now() - this.#startMs) * 1000) / 1000;
    const fields = {
      [logField.code]: code,
      [logField.durationMs]: durationMs,
      [logField.role]: this.caller.role,
      ...('actor' in this.caller ? { [logField.actor]: this.caller.actor } : {}),
      ...(this.caller.role === 'tenant' ? { [logField.tenantId]: this.caller.tenantId } : {}),
      ...(error === undefined ? {} : errorFields(error)),
    };
    if (code === 'INTERNAL') this.log.error(fields, 'call failed');
    else if (code === 'CANCELLED') this.log.info(fields, 'call ended by its peer');
    else if (error !== undefined) this.log.warn(fields, 'call refused');
    else this.log.info(fields, 'call served');
    this.span?.set({ 'rpc.system': 'grpc', 'cvmp.request_id': this.requestId });
    this.span?.end(code);
    this.#options.onCall?.({
      requestId: this.requestId,
      method: this.method,
      peer: this.peer,
      caller: this.caller,
      code,
      durationMs,
    });
  }
}

function shuttingDown(): CvmpError {
  return new CvmpError('SHUTTING_DOWN', 'the server is shutting down');
}
