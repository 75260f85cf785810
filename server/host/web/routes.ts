import type { DescMethodServerStreaming, DescMethodUnary } from '@bufbuild/protobuf';
import {
  type Code,
  ConnectError,
  type ConnectRouter,
  createContextKey,
  type HandlerContext,
} from '@connectrpc/connect';
import { CvmpError } from '#core/errors.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { validate } from '#wire/validate.js';
import type { Call, Calls } from '../calls.js';
import { type BoundMethod, type BoundService, methodName } from '../handlers.js';
import type { PeerStatus } from '../status.js';

/** The peer's address, which connect's own context does not hold. */
export const peerKey = createContextKey('unknown');

type Bound<K extends BoundMethod['kind']> = Extract<BoundMethod, { kind: K }>;

/**
 * The unary and server-streaming methods of these services as connect routes: the same handlers,
 * admission and errors as on the gRPC port. Bidirectional streams cannot reach a browser and stay
 * there.
 */
export function routes(services: readonly BoundService[], calls: Calls) {
  return (router: ConnectRouter): void => {
    for (const bound of services.flatMap((service) => service.methods)) {
      if (bound.kind === 'unary') unary(router, bound, calls);
      else if (bound.kind === 'server_streaming') serverStreaming(router, bound, calls);
    }
  };
}

function unary(router: ConnectRouter, bound: Bound<'unary'>, calls: Calls): void {
  router.rpc(bound.method, async (request, context) => {
    const call = begin(calls, bound.method, context);
    try {
      await call.admit();
      strict(bound.method, request);
      const answer = await call.unary(bound, request);
      call.finish();
      return answer;
    } catch (error) {
      throw connectError(call.finish(error));
    }
  });
}

function serverStreaming(
  router: ConnectRouter,
  bound: Bound<'server_streaming'>,
  calls: Calls,
): void {
  router.rpc(bound.method, async function* (request, context) {
    const call = begin(calls, bound.method, context);
    let failed: unknown = new CvmpError('CANCELLED', 'the peer left');
    try {
      await call.admit();
      strict(bound.method, request);
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

function begin(
  calls: Calls,
  method: DescMethodUnary | DescMethodServerStreaming,
  context: HandlerContext,
): Call {
  const call = calls.begin({
    method: methodName(method),
    peer: context.values.get(peerKey),
    streams: method.methodKind === 'server_streaming',
    authorization: context.requestHeader.get('authorization') ?? undefined,
  });
  call.running = true;
  const left = () => call.abort(new CvmpError('CANCELLED', 'the peer left'));
  if (context.signal.aborted) left();
  else context.signal.addEventListener('abort', left, { once: true });
  return call;
}

/** Connect has parsed already; unknown fields are refused as on the gRPC port. */
function strict(
  method: DescMethodUnary | DescMethodServerStreaming,
  request: Parameters<typeof validate>[1],
): void {
  const unknown = request.$unknown?.[0];
  if (unknown !== undefined) {
    const field = `#${unknown.no}`;
    throw new CvmpError('INVALID_FIELD', `${field} is not known here`, { field });
  }
  validate(method.input, request);
}

function connectError(status: PeerStatus | undefined): ConnectError {
  if (status === undefined) throw new TypeError('an error without a status');
  return new ConnectError(status.message, status.number as Code, undefined, [
    { desc: ErrorDetailSchema, value: status.detail },
  ]);
}
