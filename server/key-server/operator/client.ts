import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { CvmpError, isErrorCode } from '#core/errors.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { OperatorService } from '#gen/cvmp/v1/operator_pb.js';

export type OperatorClient = Client<typeof OperatorService>;

/**
 * Calls the server that runs on this machine.
 * @param path of its operator socket
 * @throws CvmpError the server's, UNAVAILABLE where no server answers, NOT_ALLOWED
 */
export async function callOperator<T>(
  path: string,
  call: (client: OperatorClient) => Promise<T>,
): Promise<T> {
  const transport = createConnectTransport({
    baseUrl: 'http://localhost',
    httpVersion: '1.1',
    nodeOptions: { socketPath: path },
  });
  try {
    return await call(createClient(OperatorService, transport));
  } catch (error) {
    throw error instanceof ConnectError ? localError(error, path) : error;
  }
}

/** What the server said, or why it could not be asked. */
function localError(error: ConnectError, path: string): unknown {
  const [detail] = error.findDetails(ErrorDetailSchema);
  if (detail !== undefined && isErrorCode(detail.code)) {
    const message = error.rawMessage.replace(`${detail.code}: `, '');
    const { field } = detail;
    return new CvmpError(detail.code, message, {
      cause: error,
      ...(field === '' ? {} : { field }),
    });
  }
  if (error.cause instanceof CvmpError) return error.cause;
  const { code } = (error.cause ?? {}) as { readonly code?: string };
  if (code === 'EACCES' || code === 'EPERM') {
    const what = `the socket ${path} is for the server's own user alone`;
    return new CvmpError('NOT_ALLOWED', what, { cause: error });
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || error.code === Code.Unavailable) {
    return new CvmpError('UNAVAILABLE', `no server answers on ${path}`, { cause: error });
  }
  return error;
}
