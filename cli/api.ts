import { readFileSync } from 'node:fs';
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { CvmpError, isErrorCode } from '#core/errors.js';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { KeyAdminService } from '#gen/cvmp/v1/key_admin_pb.js';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { AccessService, TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { holdToLog } from './audit/kept.js';
import type { Profile, ServerEntry } from './profile/profile.js';
import { type Caller, mintToken, speakerOf } from './profile/speaker.js';
import type { ErrorReport } from './terminal/output.js';

/** Clients of the servers that a profile names. */
export interface ServerApis {
  policies(): Client<typeof PolicyService>;
  keys(): Client<typeof KeyAdminService>;
  audit(): Client<typeof AuditService>;
  cvms(): Client<typeof CvmService>;
  /** For tenants: the same service on each server. */
  access(server: 'key_server' | 'platform'): Client<typeof AccessService>;
  /** For operators: the same service on each server. */
  tenants(server: 'key_server' | 'platform'): Client<typeof TenantService>;
  /** Ends the connections. */
  close(): void;
}

/** Gives the transport to a server; the tests' gives one without sockets. */
export type Connect = (
  server: ServerEntry,
  authorize: Interceptor,
) => { readonly transport: Transport; close(): void };

const callTimeoutMs = 60_000;

/**
 * TLS 1.3 to the server's address, trusting only the CA that the profile names for it.
 * @throws CvmpError USAGE where the CA file cannot be read
 */
export const connectByTls: Connect = (server, authorize) => {
  let ca: Buffer;
  try {
    ca = readFileSync(server.tlsCa);
  } catch (cause) {
    const why = `cannot read the CA file ${server.tlsCa}: ${(cause as Error).message}`;
    throw new CvmpError('USAGE', why, { cause });
  }
  const baseUrl = `https://${server.address}`;
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    ca,
    minVersion: 'TLSv1.3',
  });
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    interceptors: [authorize],
    defaultTimeoutMs: callTimeoutMs,
  });
  return { transport, close: () => sessionManager.abort() };
};

export interface ApiOptions {
  /** Hold the Key Server to what it said of its log before, at every call of a tenant. */
  readonly holdToLog?: boolean;
}

/** Nothing is connected and no key is read before the first call. */
export function serverApis(
  profile: Profile,
  connect: Connect,
  now: () => number,
  options: ApiOptions = {},
): ServerApis {
  const connections = new Map<string, ReturnType<Connect>>();
  const open = (which: 'key_server' | 'platform', caller: Caller): Transport => {
    const server = which === 'platform' ? profile.platform : profile.keyServer;
    if (server === undefined) {
      throw new CvmpError('CONFIG', `${profile.file} names no ${which}`, { field: which });
    }
    const id = `${which} ${caller}`;
    const known = connections.get(id);
    if (known !== undefined) return known.transport;
    const authorize = authorizer(profile, server, caller, now);
    const { keyServer } = profile;
    const isHeld = options.holdToLog === true && server === keyServer && caller === 'tenant';
    const hold = isHeld
      ? holdToLog(profile.file, keyServer.identityKey, () => open(which, caller))
      : undefined;
    const connection = connect(
      server,
      hold === undefined ? authorize : (next) => hold(authorize(next)),
    );
    connections.set(id, connection);
    return connection.transport;
  };
  return {
    policies: () => createClient(PolicyService, open('key_server', 'tenant')),
    keys: () => createClient(KeyAdminService, open('key_server', 'tenant')),
    audit: () => createClient(AuditService, open('key_server', 'tenant')),
    cvms: () => createClient(CvmService, open('platform', 'tenant')),
    access: (server) => createClient(AccessService, open(server, 'tenant')),
    tenants: (server) => createClient(TenantService, open(server, 'operator')),
    close: () => {
      for (const connection of connections.values()) connection.close();
    },
  };
}

function authorizer(
  profile: Profile,
  server: ServerEntry,
  caller: Caller,
  now: () => number,
): Interceptor {
  return (next) => async (request) => {
    const token = await mintToken(await speakerOf(profile, caller), server.name, now());
    request.header.set('authorization', `Bearer ${token}`);
    return next(request);
  };
}

/** What a caught error says: by its detail where a server sent one, else by the error table. */
export function errorReport(error: unknown): ErrorReport {
  if (error instanceof CvmpError) {
    return {
      code: error.code,
      message: error.message,
      hint: error.next,
      ...(error.field === undefined ? {} : { field: error.field }),
    };
  }
  if (error instanceof ConnectError) {
    // A CvmpError of our own, thrown inside a call (a missing key file), comes wrapped.
    if (error.cause instanceof CvmpError) return errorReport(error.cause);
    return remoteReport(error);
  }
  const text = error instanceof Error ? error.message : String(error);
  return { code: 'INTERNAL', message: text, hint: 'Report it with what you typed.' };
}

function remoteReport(error: ConnectError): ErrorReport {
  const [detail] = error.findDetails(ErrorDetailSchema);
  if (detail !== undefined) {
    return {
      code: detail.code,
      // The server's message opens with its code, for clients that do not read details.
      message: error.rawMessage.replace(`${detail.code}: `, ''),
      ...(detail.field === '' ? {} : { field: detail.field }),
      ...(detail.next === '' ? {} : { hint: detail.next }),
      ...(detail.requestId === '' ? {} : { requestId: detail.requestId }),
    };
  }
  if (/certificate|ERR_TLS|SSL/i.test(error.rawMessage)) {
    return {
      code: 'UNAVAILABLE',
      message: `TLS: ${error.rawMessage}`,
      hint: "Name the server's certificate or its CA as tls_ca in the profile.",
    };
  }
  const code = (Code[error.code] ?? 'Unknown').replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
  const hint = isErrorCode(code) ? new CvmpError(code, '').next : undefined;
  return { code, message: error.rawMessage, ...(hint === undefined ? {} : { hint }) };
}
