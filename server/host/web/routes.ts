import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import {
  type Code,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { CvmpError } from '#core/errors.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { validate } from '#wire/validate.js';
import type { Call, Calls } from '../calls.js';
import { type BoundMethod, type BoundService, methodName } from '../handlers.js';
import type { PeerStatus } from '../status.js';
import { readBody, withBody } from './request.js';

export type WebRequest = IncomingMessage | Http2ServerRequest;
export type WebResponse = ServerResponse | Http2ServerResponse;
type NodeResponse = Parameters<typeof universalResponseToNodeResponse>[1];

export interface RouteLimits {
  readonly messageBytesMax: number;
  /** Longest timeout that a client may ask for. */
  readonly timeoutSecondsMax: number;
}

/** A call that was admitted and read, or why it is refused. */
interface Prepared {
  readonly call: Call;
  readonly refusal: unknown;
}

const preparedKey = createContextKey<Prepared | undefined>(undefined);

/**
 * The unary and server-streaming methods of these services over Connect, gRPC-web and gRPC: the same
 * handlers, admission and errors as on the gRPC port. Bidirectional streams cannot reach a browser
 * and stay there.
 * @returns a function that serves a request, and says false where its path is no method
 */
export function createRoutes(
  services: readonly BoundService[],
  calls: Calls,
  limits: RouteLimits,
): (request: WebRequest, response: WebResponse) => boolean {
  const router = createConnectRouter({
    readMaxBytes: limits.messageBytesMax,
    writeMaxBytes: limits.messageBytesMax,
    maxTimeoutMs: limits.timeoutSecondsMax * 1000,
    // Requests are small; not decompressing leaves nothing to blow up.
    acceptCompression: [],
  });
  for (const bound of services.flatMap((service) => service.methods)) {
    if (bound.kind === 'unary') unary(router, bound);
    else if (bound.kind === 'server_streaming') serverStreaming(router, bound);
  }
  const paths = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (request, response) => {
    const handler = paths.get(request.url ?? '');
    if (handler === undefined) return false;
    void serve(handler, calls, limits, request, response as NodeResponse);
    return true;
  };
}

async function serve(
  handler: UniversalHandler,
  calls: Calls,
  limits: RouteLimits,
  request: WebRequest,
  response: NodeResponse,
): Promise<void> {
  const values = createContextValues();
  const universal = universalRequestFromNodeRequest(request, response, undefined, values);
  const call = calls.begin({
    method: methodName(handler.method),
    peer: peerOf(request),
    streams: handler.method.methodKind !== 'unary',
    traceparent: universal.header.get('traceparent') ?? undefined,
    credentials: {
      authorization: universal.header.get('authorization') ?? undefined,
      tenant: universal.header.get('cvmp-tenant') ?? undefined,
      certificate: () => certificateOf(request),
    },
  });
  response.once('close', () => {
    // Connect may answer by itself: a wrong content type, a timeout that is no number.
    if (!call.running) call.finish(new CvmpError('MALFORMED', 'not a call of the web port'));
  });
  const { signal } = universal;
  const left = () => call.abort(new CvmpError('CANCELLED', 'the peer left'));
  if (signal.aborted) left();
  else signal.addEventListener('abort', left, { once: true });
  let body: Uint8Array | undefined;
  let refusal: unknown;
  try {
    await call.admit();
    body = await readBody(handler.method, universal, limits.messageBytesMax);
  } catch (error) {
    refusal = error;
  }
  values.set(preparedKey, { call, refusal });
  try {
    await universalResponseToNodeResponse(await handler(withBody(universal, body)), response);
  } catch (error) {
    call.abort(new CvmpError('CANCELLED', 'the answer could not be sent', { cause: error }));
  }
}

/** A Unix socket has no address at its other end. */
function peerOf({ socket }: WebRequest): string {
  const { remoteAddress, remotePort } = socket;
  return remoteAddress === undefined ? 'local' : `${remoteAddress}:${remotePort}`;
}

/** Only a TLS socket has one; over h2 compatibility it is seen through a proxy. */
function certificateOf(request: WebRequest): X509Certificate | undefined {
  const { getPeerX509Certificate } = request.socket as Partial<TLSSocket>;
  return getPeerX509Certificate?.call(request.socket);
}

type Bound<K extends BoundMethod['kind']> = Extract<BoundMethod, { kind: K }>;

function unary(router: ConnectRouter, bound: Bound<'unary'>): void {
  router.rpc(bound.method, async (request, context) => {
    const { call, refusal } = preparedOf(context);
    try {
      if (refusal !== undefined) throw refusal;
      validate(bound.method.input, request);
      const answer = await call.unary(bound, request);
      call.finish();
      return answer;
    } catch (error) {
      throw connectError(call.finish(error));
    }
  });
}

function serverStreaming(router: ConnectRouter, bound: Bound<'server_streaming'>): void {
  router.rpc(bound.method, async function* (request, context) {
    const { call, refusal } = preparedOf(context);
    let failed: unknown = new CvmpError('CANCELLED', 'the peer left');
    try {
      if (refusal !== undefined) throw refusal;
      validate(bound.method.input, request);
      yield* bound.handler(request, call);
      failed = undefined;
    } catch (error) {
      failed = error;
      throw connectError(call.finish(error));
    } finally {
      // Also where the peer left in the middle and connect returned the generator.
      call.finish(failed);
    }
  });
}

function preparedOf(context: HandlerContext): Prepared {
  const prepared = context.values.get(preparedKey);
  if (prepared === undefined) throw new TypeError('a call that was never prepared');
  prepared.call.running = true;
  return prepared;
}

function connectError(status: PeerStatus | undefined): ConnectError {
  if (status === undefined) throw new TypeError('an error without a status');
  return new ConnectError(status.message, status.number as Code, undefined, [
    { desc: ErrorDetailSchema, value: status.detail },
  ]);
}
