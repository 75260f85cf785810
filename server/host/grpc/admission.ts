import type { X509Certificate } from 'node:crypto';
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js';
import { CvmpError } from '#core/errors.js';
import { accessTable, needsToken } from '../callers/access.js';
import type { Call, Calls } from '../calls.js';
import type { CallContext } from '../handlers.js';
import { type Admitted, type CallOf, detailsKey, serviceError } from './adapter.js';
import { addressOf, type RateByAddress } from './rate.js';

/** What a connection gives its calls. */
export interface Connection {
  readonly exportKeyingMaterial: NonNullable<CallContext['exportKeyingMaterial']>;
  readonly certificate: () => X509Certificate | undefined;
}

/** The connection with this peer, undefined where it is gone. */
export type ConnectionOf = (peer: string) => Connection | undefined;

/**
 * Admits calls by their metadata, before a byte of a message is read: who has no token cannot make
 * the server buffer one. What needs none is counted by address. Health and reflection, which are not
 * in the table of access, pass.
 */
export function createAdmission(
  calls: Calls,
  connectionOf: ConnectionOf,
  handshakes: RateByAddress,
): { interceptor: ServerInterceptor; callOf: CallOf } {
  const admitted = new WeakMap<Metadata, Admitted>();

  const interceptor: ServerInterceptor = (definition, next) => {
    const method = definition.path.slice(1);
    if (accessTable[method] === undefined) return new ServerInterceptingCall(next);
    let call: Call | undefined;
    return new ServerInterceptingCall(next, {
      start: (start) =>
        start({
          onReceiveMetadata: (metadata, pass) => {
            const peer = next.getPeer();
            const connection = connectionOf(peer);
            const header = (name: string) => metadata.get(name)[0]?.toString();
            const begun = calls.begin({
              method,
              peer,
              streams: definition.responseStream,
              credentials: {
                authorization: header('authorization'),
                tenant: header('cvmp-tenant'),
                certificate: () => connection?.certificate(),
              },
              traceparent: header('traceparent'),
              exportKeyingMaterial: connection?.exportKeyingMaterial,
            });
            call = begun;
            explainSize(next, begun);
            admitted.set(metadata, { call: begun, send: sending(next) });
            if (!needsToken(method)) {
              if (handshakes.take(addressOf(peer))) pass(metadata);
              else next.sendStatus(serviceError(begun.finish(tooMany())));
              return;
            }
            begun.admit().then(
              () => pass(metadata),
              (error) => next.sendStatus(serviceError(begun.finish(error))),
            );
          },
          // A peer may leave before it sends its message; then no handler ever learns of the call.
          onCancel: () => {
            if (call?.running === false) call.finish(new CvmpError('CANCELLED', 'the peer left'));
          },
        }),
    });
  };

  const callOf: CallOf = (metadata) => {
    const found = admitted.get(metadata);
    if (found === undefined) throw new TypeError('a call that was never admitted');
    found.call.running = true;
    return found;
  };
  return { interceptor, callOf };
}

/**
 * grpc-js refuses a message that is too long by itself, past every interceptor and handler: then its
 * status gets our detail, and the call its end in the log.
 */
function explainSize(next: ServerInterceptingCallInterface, call: Call): void {
  const send = next.sendStatus.bind(next);
  next.sendStatus = (told) => {
    const isOurs = (told.metadata?.get(detailsKey).length ?? 0) > 0;
    if (isOurs || told.code !== status.RESOURCE_EXHAUSTED) send(told);
    else send(serviceError(call.finish(new CvmpError('MESSAGE_SIZE', told.details ?? ''))));
  };
}

function tooMany(): CvmpError {
  return new CvmpError('RATE', 'this address opened too many sessions in a minute');
}

/**
 * Messages past grpc-js's own stream object, which waits for each one to be written before it takes
 * the next: answers that are ready together leave together, in one write to the socket.
 */
function sending(next: ServerInterceptingCallInterface): Admitted['send'] {
  return (bytes, written) => next.sendMessage(bytes, written);
}
