import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import type { Verb } from './callers/verbs.js';
import type { Span } from './observe/trace.js';

// Handlers know neither gRPC nor HTTP: the same one stands behind the gRPC port and the web port.

/** What is known of everybody who has proven who they are. */
interface Authenticated {
  /** What their credentials allow (callers/access.ts). */
  readonly verbs: ReadonlySet<Verb>;
  /** Who of the tenant or the operators it is, for log and audit: `key`, `delegate ci`, ... */
  readonly actor: string;
}

/** Who calls. An agent is anonymous until its session has attested it. */
export type Caller =
  | { readonly role: 'anonymous' }
  | (Authenticated & { readonly role: 'tenant'; readonly tenantId: string })
  | (Authenticated & { readonly role: 'operator' })
  /** Whoever may open the server's own Unix socket. */
  | { readonly role: 'local' };

/** What a handler may know of its call beside the request. */
export interface CallContext {
  readonly caller: Caller;
  /** Made by this server; log, audit and the error that a peer sees carry it. */
  readonly requestId: string;
  /** Address and port of the other end of the connection. */
  readonly peer: string;
  /** Aborts when the peer is gone, the deadline is over, or the server shuts down. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** What the evidence that comes on this call costs its address, in signature checks. */
  readonly attestationCost: {
    /** @throws CvmpError RATE */
    admit(cost: number): void;
    failed(cost: number): void;
  };
  /** Of this call, where it is traced. */
  readonly span?: Span | undefined;
  /**
   * TLS exporter of this call's own connection (RFC 8446 s.7.5). Only the gRPC port has one; on the
   * web port it is undefined.
   */
  readonly exportKeyingMaterial:
    | ((label: string, context: Uint8Array, length: number) => Uint8Array)
    | undefined;
}

export type UnaryHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: CallContext,
) => Promise<MessageInitShape<O>>;

/** The iterable must end when `context.signal` aborts. */
export type ServerStreamHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: CallContext,
) => AsyncIterable<MessageInitShape<O>>;

/** The sending half of a bidirectional stream. */
export interface StreamSender<O extends DescMessage> {
  /** Sends now; false where the peer reads slower than we write (see `pause`). */
  send(message: MessageShape<O>): boolean;
  /** Ends the stream with status OK. */
  end(): void;
  /** Ends the stream with the status of the error. */
  fail(error: unknown): void;
  /** Stops reading from the peer until `resume`. */
  pause(): void;
  resume(): void;
}

/** The receiving half: callbacks, since an async generator per message costs too much here. */
export interface StreamReceiver<I extends DescMessage> {
  /** One message. What it throws ends the stream. */
  message(message: MessageShape<I>): void;
  /** The peer sends no more; what is in flight may still be answered. */
  halfClosed(): void;
  /** The sender's buffer is empty again after `send` gave false. */
  drained(): void;
  /**
   * The server shuts down: answer what is in flight, take no more, and fail the stream with the
   * error. Without it the stream is failed at once.
   */
  draining?(error: CvmpError): void;
  /** Always called, once and last. */
  closed(): void;
}

export type BidiHandler<I extends DescMessage, O extends DescMessage> = (
  sender: StreamSender<O>,
  context: CallContext,
) => StreamReceiver<I>;

type HandlerOf<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryHandler<I, O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamHandler<I, O>
      : M extends DescMethodBiDiStreaming<infer I, infer O>
        ? BidiHandler<I, O>
        : never;

/** One handler per RPC, by the names of the generated service. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof S['method']]: HandlerOf<S['method'][K]>;
};

/** A service and what stands behind it, as the listeners take it. */
export interface BoundService {
  readonly service: DescService;
  readonly methods: readonly BoundMethod[];
}

export type BoundMethod =
  | {
      readonly kind: 'unary';
      readonly method: DescMethodUnary;
      readonly handler: UnaryHandler<DescMessage, DescMessage>;
    }
  | {
      readonly kind: 'server_streaming';
      readonly method: DescMethodServerStreaming;
      readonly handler: ServerStreamHandler<DescMessage, DescMessage>;
    }
  | {
      readonly kind: 'bidi_streaming';
      readonly method: DescMethodBiDiStreaming;
      readonly handler: BidiHandler<DescMessage, DescMessage>;
    };

/**
 * Puts handlers behind a service.
 * @throws TypeError where a method has no handler, or is client-streaming (CVMP has none)
 */
export function bindService<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
): BoundService {
  const all = handlers as Readonly<Record<string, unknown>>;
  const methods = service.methods.map((method) => {
    const handler = all[method.localName];
    if (typeof handler !== 'function' || method.methodKind === 'client_streaming') {
      throw new TypeError(`${methodName(method)} has no handler`);
    }
    return { kind: method.methodKind, method, handler: handler.bind(handlers) } as BoundMethod;
  });
  return { service, methods };
}

/** The same service, whose every call is refused while there is a reason to. */
export function gated(bound: BoundService, refusal: () => CvmpError | undefined): BoundService {
  const guard = <A extends unknown[], R>(handler: (...args: A) => R) => {
    return (...args: A): R => {
      const error = refusal();
      if (error !== undefined) throw error;
      return handler(...args);
    };
  };
  const methods = bound.methods.map(
    (method) => ({ ...method, handler: guard(method.handler as never) }) as BoundMethod,
  );
  return { ...bound, methods };
}

/** "cvmp.v1.CvmService/CVMFeature", as gRPC's path without its leading slash. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/**
 * The tenant that calls; the table of access lets nobody else through to methods that ask this.
 * @throws CvmpError NOT_ALLOWED
 */
export function tenantOf(context: CallContext): string {
  if (context.caller.role !== 'tenant') {
    throw new CvmpError('NOT_ALLOWED', 'the caller is not a tenant');
  }
  return context.caller.tenantId;
}
