import { Code, ConnectError } from '@connectrpc/connect';
import { CvmpError, type ErrorCode, isErrorCode } from '#core/errors.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import type { KeyError } from '#gen/cvmp/v1/key_pb.js';

/** What gRPC says of a peer that does not know our services at all. */
const stranger: readonly Code[] = [
  Code.Unimplemented,
  Code.NotFound,
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
];

/**
 * A failed call as one of our errors: the code that the Key Server sent with its refusal, else
 * UNAVAILABLE, because the stream broke, or SERVER_UNTRUSTED, because no Key Server answers so.
 */
export function remoteError(error: unknown): CvmpError {
  if (error instanceof CvmpError) return error;
  if (!(error instanceof ConnectError)) {
    return new CvmpError('INTERNAL', 'a fault of the agent', { cause: error });
  }
  if (error.cause instanceof CvmpError) return error.cause;
  const [detail] = error.findDetails(ErrorDetailSchema);
  if (detail !== undefined) return told(detail.code, error.rawMessage, detail.field, error);
  if (stranger.includes(error.code)) {
    const what = `the peer is no Key Server: ${error.message}`;
    return new CvmpError('SERVER_UNTRUSTED', what, { cause: error });
  }
  return new CvmpError('UNAVAILABLE', `the stream is lost: ${error.message}`, { cause: error });
}

/** A refusal inside the session. */
export function refusal({ code, message, field }: KeyError): CvmpError {
  return told(code, message, field);
}

function told(code: string, message: string, field: string, cause?: unknown): CvmpError {
  // A newer Key Server may know codes that this agent does not.
  const known: ErrorCode = isErrorCode(code) ? code : 'POLICY_REFUSED';
  const text = message.startsWith(`${code}: `) ? message : `${code}: ${message}`;
  return new CvmpError(known, text, { cause, ...(field === '' ? {} : { field }) });
}
