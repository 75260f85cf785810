import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { CvmpError } from '#core/errors.js';
import { readMessage, writeMessage } from '#wire/validate.js';
import type { Call } from '../calls.js';
import {
  type BoundMethod,
  type BoundService,
  methodName,
  type StreamReceiver,
  type StreamSender,
} from '../handlers.js';
import { type PeerStatus, statusDetails } from '../status.js';

type Bound<K extends BoundMethod['kind']> = Extract<BoundMethod, { kind: K }>;

/** A call, and how to send on it without waiting for what was sent before. */
export interface Admitted {
  readonly call: Call;
  readonly send: (bytes: Buffer, written: () => void) => void;
}

/** Finds the call that the admission interceptor began for this metadata. */
export type CallOf = (metadata: Metadata) => Admitted;

/** Messages that may wait to be written before the sender is asked to pause. */
const unwrittenMax = 64;

/** Requests stay bytes until our own reader has them: grpc-js would answer INTERNAL to garbage. */
const asBytes = (bytes: Buffer): Buffer => bytes;

/** grpc-js's view of a service. */
export function serviceDefinition(bound: BoundService): ServiceDefinition {
  return Object.fromEntries(
    bound.methods.map(({ method, kind }): [string, MethodDefinition<Buffer, Buffer>] => [
      method.localName,
      {
        path: `/${methodName(method)}`,
        requestStream: kind === 'bidi_streaming',
        responseStream: kind !== 'unary',
        requestSerialize: asBytes,
        requestDeserialize: asBytes,
        responseSerialize: asBytes,
        responseDeserialize: asBytes,
      },
    ]),
  );
}

/** The same handlers as grpc-js wants to call them. */
export function implementation(bound: BoundService, callOf: CallOf): UntypedServiceImplementation {
  return Object.fromEntries(
    bound.methods.map((method) => {
      if (method.kind === 'unary') return [method.method.localName, unary(method, callOf)];
      if (method.kind === 'server_streaming') {
        return [method.method.localName, serverStreaming(method, callOf)];
      }
      return [method.method.localName, bidiStreaming(method, callOf)];
    }),
  );
}

function unary(bound: Bound<'unary'>, callOf: CallOf): handleUnaryCall<Buffer, Buffer> {
  return (rpc, callback) => {
    const { call } = callOf(rpc.metadata);
    rpc.on('cancelled', () => call.abort(peerLeft()));
    call.unary(bound, rpc.request).then(
      (answer) => {
        const bytes = encode(bound.method.output, answer);
        call.finish();
        callback(null, bytes);
      },
      (error) => callback(serviceError(call.finish(error))),
    );
  };
}

function serverStreaming(
  bound: Bound<'server_streaming'>,
  callOf: CallOf,
): handleServerStreamingCall<Buffer, Buffer> {
  return (rpc) => {
    const { call } = callOf(rpc.metadata);
    rpc.on('cancelled', () => call.abort(peerLeft()));
    const run = async () => {
      const request = readMessage(bound.method.input, rpc.request);
      const answers = bound.handler(request, call)[Symbol.asyncIterator]();
      const aborted = whenAborted(call.signal);
      try {
        for (;;) {
          const step = await Promise.race([answers.next(), aborted]);
          if (step.done) break;
          const bytes = encode(bound.method.output, create(bound.method.output, step.value));
          if (!rpc.write(bytes)) await Promise.race([drained(rpc), aborted]);
        }
      } finally {
        // Not awaited: a generator that never looks at the signal would hold the call for ever.
        answers.return?.().catch(() => undefined);
      }
    };
    run().then(
      () => {
        call.finish();
        rpc.end();
      },
      (error) => rpc.emit('error', serviceError(call.finish(error))),
    );
  };
}

function bidiStreaming(
  bound: Bound<'bidi_streaming'>,
  callOf: CallOf,
): handleBidiStreamingCall<Buffer, Buffer> {
  const { input, output } = bound.method;
  return (rpc) => {
    const { call, send } = callOf(rpc.metadata);
    let ended = false;
    let receiver: StreamReceiver<DescMessage> | undefined;
    const end = (error?: unknown) => {
      if (ended) return;
      ended = true;
      const status = call.finish(error);
      if (status === undefined) rpc.end();
      else if (!rpc.destroyed) rpc.emit('error', serviceError(status));
      // What the peer still sends is read and dropped, so that its stream can close.
      rpc.resume();
      receiver?.closed();
    };
    const guarded = (work: (to: StreamReceiver<DescMessage>) => void) => {
      if (ended || receiver === undefined) return;
      try {
        work(receiver);
      } catch (error) {
        end(error);
      }
    };
    let unwritten = 0;
    let full = false;
    const written = () => {
      unwritten -= 1;
      if (!full || unwritten > 0) return;
      full = false;
      guarded((to) => to.drained());
    };
    const sender: StreamSender<DescMessage> = {
      send: (message) => {
        if (ended) return false;
        unwritten += 1;
        send(encode(output, message), written);
        full ||= unwritten >= unwrittenMax;
        return !full;
      },
      end: () => end(),
      fail: end,
      pause: () => rpc.pause(),
      resume: () => rpc.resume(),
    };
    if (call.signal.aborted) {
      end(call.signal.reason);
      return;
    }
    try {
      receiver = bound.handler(sender, call);
    } catch (error) {
      end(error);
      return;
    }
    call.signal.addEventListener('abort', () => end(call.signal.reason));
    call.onDrain = (error) =>
      guarded((to) => (to.draining === undefined ? call.abort(error) : to.draining(error)));
    rpc.on('data', (bytes: Buffer) => guarded((to) => to.message(readMessage(input, bytes))));
    rpc.on('end', () => guarded((to) => to.halfClosed()));
    rpc.on('cancelled', () => end(peerLeft()));
  };
}

function encode(schema: Bound<'unary'>['method']['output'], message: unknown): Buffer {
  const bytes = writeMessage(schema, message as Message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function peerLeft(): CvmpError {
  return new CvmpError('CANCELLED', 'the peer left, or its deadline passed');
}

function whenAborted(signal: AbortSignal): Promise<never> {
  const promise = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  // It may lose every race; that is no unhandled rejection.
  promise.catch(() => undefined);
  return promise;
}

function drained(rpc: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => rpc.once('drain', () => resolve()));
}

/** Trailer that holds google.rpc.Status. */
export const detailsKey = 'grpc-status-details-bin';

/** A refusal as grpc-js sends it, with google.rpc.Status in the trailer. */
export function serviceError(status: PeerStatus | undefined): ServiceError {
  if (status === undefined) throw new TypeError('an error without a status');
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(statusDetails(status)));
  return Object.assign(new Error(status.message), {
    code: status.number,
    details: status.message,
    metadata,
  });
}
