import type { Server } from 'node:net';
import { createSecureContext } from 'node:tls';
import { CvmpError } from '#core/errors.js';

/** Where a server listens. */
export interface Endpoint {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** Ports on which a client certificate is asked for; one that comes is judged by callers/. */
export type ClientCertificates = 'none' | 'grpc' | 'both';

/** What a server shows of itself, PEM. */
export interface TlsIdentity {
  /** Leaf first. */
  readonly certificate: string;
  readonly key: string;
}

/** @throws CvmpError CONFIG where key and certificate are not a pair, or either is damaged */
export function checkTls({ certificate, key }: TlsIdentity): void {
  try {
    createSecureContext({ cert: certificate, key });
  } catch (cause) {
    const message = `tls: certificate and key do not fit: ${(cause as Error).message}`;
    throw new CvmpError('CONFIG', message, { cause, field: 'tls' });
  }
}

/** Options of a TLS server: nobody has to show a certificate, nor one of a known authority. */
export function askCertificate(asks: boolean) {
  return { requestCert: asks, rejectUnauthorized: false } as const;
}

/** Reads "host:port" or "[v6]:port". @throws CvmpError CONFIG */
export function parseEndpoint(text: string, field: string): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535) {
    throw new CvmpError('CONFIG', `${field} is not "host:port"`, { field });
  }
  return { host, port };
}

export function endpointText(endpoint: Endpoint): string {
  const { host, port } = endpoint;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Starts listening. @returns the port; @throws CvmpError CONFIG where that cannot be */
export function listen(server: Server, endpoint: Endpoint): Promise<number> {
  return new Promise((resolve, reject) => {
    const refused = (cause: Error) =>
      reject(
        new CvmpError('CONFIG', `cannot listen on ${endpointText(endpoint)}: ${cause.message}`, {
          cause,
        }),
      );
    server.once('error', refused);
    server.listen(endpoint.port, endpoint.host, () => {
      server.off('error', refused);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : endpoint.port);
    });
  });
}

/** Resolves when a server that no longer listens has lost its last connection, or time is over. */
export function closed(server: Server, withinMilliseconds?: number): Promise<void> {
  return new Promise((resolve) => {
    server.getConnections((_error, count) => {
      if (!server.listening && count === 0) {
        resolve();
        return;
      }
      const timer =
        withinMilliseconds === undefined ? undefined : setTimeout(done, withinMilliseconds);
      function done(): void {
        clearTimeout(timer);
        server.off('close', done);
        resolve();
      }
      server.once('close', done);
    });
  });
}
