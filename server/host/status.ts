import { create, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { CvmpError, type ErrorCode, errorTable, type RpcCode } from '#core/errors.js';
import { type ErrorDetail, ErrorDetailSchema, StatusSchema } from '#gen/cvmp/v1/error_pb.js';
import type { Caller } from './handlers.js';

/** google.rpc.Code numbers. */
export const rpcNumber: Readonly<Record<RpcCode, number>> = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
};

const textMax = 512;

/** What a peer is told of an error. */
export interface PeerStatus {
  readonly number: number;
  readonly message: string;
  readonly detail: ErrorDetail;
}

/** The stable code of any error; what carries none is a fault of ours. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof CvmpError ? error.code : 'INTERNAL';
}

/**
 * Two audiences: an anonymous peer learns the code and its fixed sentence, an authenticated one also
 * the message and field. What has no code says nothing but INTERNAL; the log has the rest.
 */
export function peerStatus(error: unknown, caller: Caller, requestId: string): PeerStatus {
  const code = codeOf(error);
  const row = errorTable[code];
  const told = error instanceof CvmpError && caller.role !== 'anonymous';
  return {
    number: rpcNumber[row.rpc],
    message: clip(`${code}: ${told ? error.message : row.meaning}`),
    detail: create(ErrorDetailSchema, {
      code,
      field: clip(told ? (error.field ?? '') : ''),
      next: row.next,
      requestId,
      ...retryAfter(error),
    }),
  };
}

/** Also for who is not known: a client that backs off is good for both ends. */
function retryAfter(error: unknown) {
  if (!(error instanceof CvmpError) || error.retryAfterMs === undefined) return {};
  return { retryAfter: durationFromMs(error.retryAfterMs) };
}

/** Messages may quote what the peer sent, and go out in HTTP headers, which are small. */
function clip(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`;
}

/** Content of the grpc-status-details-bin trailer (google.rpc.Status). */
export function statusDetails(status: PeerStatus): Uint8Array {
  return toBinary(
    StatusSchema,
    create(StatusSchema, {
      code: status.number,
      message: status.message,
      details: [
        {
          typeUrl: `type.googleapis.com/${ErrorDetailSchema.typeName}`,
          value: toBinary(ErrorDetailSchema, status.detail),
        },
      ],
    }),
  );
}
