import { chmod, rm } from 'node:fs/promises';
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { CvmpError, errorTable, type RpcCode } from '#core/errors.js';
import { tenantActivationProof, tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import {
  AgentPhase,
  GuestActivateRequestSchema,
  GuestEvidenceRequestSchema,
  GuestService,
} from '#gen/cvmp/v1/guest_pb.js';
import { validate } from '#wire/validate.js';
import { type Attester, hardwareOf } from './attester/attester.js';
import type { AgentStatus, StatusBoard } from './status.js';

/** Reports that may be waited for at once: a security processor makes a few in a second. */
const waitingMax = 8;
/** Relays at once; the platform needs one. */
const connectionsMax = 16;
/** Every request is a nonce, a credential or empty. */
const requestBytesMax = 4096;
/** A relay that does not read is not waited for. */
const lastWordMs = 500;

const phases: Readonly<Record<AgentStatus['phase'], AgentPhase>> = {
  starting: AgentPhase.STARTING,
  attesting: AgentPhase.ATTESTING,
  retrying: AgentPhase.RETRYING,
  'key released': AgentPhase.KEY_RELEASED,
  delivered: AgentPhase.DELIVERED,
  refused: AgentPhase.REFUSED,
  failed: AgentPhase.FAILED,
};

export interface GuestServiceOptions {
  readonly attester: Attester;
  readonly configDocument: Uint8Array;
  readonly agentBuild: string;
  readonly status: StatusBoard;
}

/** GuestService for the tenant (proto/cvmp/v1/guest.proto); the provider relays and cannot forge. */
export function guestRoutes(options: GuestServiceOptions): (router: ConnectRouter) => void {
  const { attester, configDocument, agentBuild, status } = options;
  let waiting = 0;
  const inTurn = <T>(work: () => Promise<T>): Promise<T> =>
    reported(async () => {
      if (waiting >= waitingMax) {
        throw new CvmpError('RATE', `${waitingMax} reports are being waited for`);
      }
      waiting += 1;
      try {
        return await work();
      } finally {
        waiting -= 1;
      }
    });
  return (router) => {
    router.service(GuestService, {
      guestEvidence: (request) =>
        inTurn(async () => {
          validate(GuestEvidenceRequestSchema, request);
          const reportData = tenantVerifyReportData(request.nonce, configDocument);
          const cmwCollection = await hardwareOf(attester).evidence(reportData);
          return { evidence: { configDocument, cmwCollection, agentBuild } };
        }),
      guestActivate: (request) =>
        inTurn(async () => {
          validate(GuestActivateRequestSchema, request);
          const { nonce, credentialBlob, encryptedSecret } = request;
          const tpm = hardwareOf(attester);
          const secret = await tpm.activateCredential?.(credentialBlob, encryptedSecret);
          if (secret === undefined) {
            throw new CvmpError('AK_UNTRUSTED', 'the evidence has no AK to activate');
          }
          const proof = tenantActivationProof(secret, nonce, { credentialBlob, encryptedSecret });
          secret.fill(0);
          return { proof };
        }),
      async *guestStatus(_, { signal }) {
        for await (const { phase, code, time, ...rest } of status.watch(signal)) {
          yield {
            ...rest,
            phase: phases[phase],
            code: code ?? '',
            keyId: rest.keyId ?? new Uint8Array(0),
            time: timestampFromMs(time),
          };
        }
      },
    });
  };
}

/** A listening GuestService. */
export interface GuestListener {
  /** Ends every stream and takes the socket away. */
  close(): Promise<void>;
}

/**
 * Serves gRPC, gRPC-web and Connect on a unix socket that only its owner may use.
 * @throws CvmpError CONFIG where that cannot be
 */
export async function listenForGuests(
  path: string,
  routes: (router: ConnectRouter) => void,
): Promise<GuestListener> {
  const stop = new AbortController();
  const handler = connectNodeAdapter({
    routes,
    shutdownSignal: stop.signal,
    readMaxBytes: requestBytesMax,
  });
  const server = createServer(handler);
  server.maxConnections = connectionsMax;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  // A session that is closed may leave its socket open for as long as the peer likes.
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => {
      sessions.delete(session);
      if (stop.signal.aborted && sessions.size === 0) cut();
    });
  });
  await rm(path, { force: true });
  await listening(server, path);
  await chmod(path, 0o600);
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Watchers are told the last status, then their streams end.
      stop.abort();
      for (const session of sessions) session.close();
      const late = setTimeout(cut, lastWordMs);
      await closed;
      clearTimeout(late);
      await rm(path, { force: true });
    },
  };
}

function listening(server: Http2Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new CvmpError('CONFIG', `cannot listen on ${path}`, { cause, field: 'guest_socket' })),
    );
    server.listen(path, resolve);
  });
}

/** The relay is the provider's: it learns code and fixed sentence, as any stranger. */
async function reported<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const error =
      cause instanceof CvmpError ? cause : new CvmpError('INTERNAL', 'fault', { cause });
    const detail = { code: error.code, field: error.field ?? '', next: error.next };
    throw new ConnectError(
      `${error.code}: ${errorTable[error.code].meaning}`,
      connectCode[error.rpc],
      undefined,
      [{ desc: ErrorDetailSchema, value: detail }],
      cause,
    );
  }
}

const connectCode: Readonly<Record<RpcCode, Code>> = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  UNAUTHENTICATED: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  UNIMPLEMENTED: Code.Unimplemented,
  UNAVAILABLE: Code.Unavailable,
  CANCELLED: Code.Canceled,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  INTERNAL: Code.Internal,
  DATA_LOSS: Code.DataLoss,
};
