import type { Duplex } from 'node:stream';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { GuestService } from '#gen/cvmp/v1/guest_pb.js';

/** GuestService in one CVM, over one byte stream of its own. */
export interface GuestClient {
  readonly service: Client<typeof GuestService>;
  close(): void;
}

/** The stream is opened by the first call. @param bytesMax of one message from the guest */
export function guestClient(open: () => Duplex, bytesMax: number): GuestClient {
  // gRPC in clear: the stream does not leave the host, and no secret travels on it.
  const baseUrl = 'http://guest';
  const session = new Http2SessionManager(baseUrl, {}, { createConnection: open });
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: session,
    readMaxBytes: bytesMax,
  });
  return {
    service: createClient(GuestService, transport),
    close: () => session.abort(),
  };
}
