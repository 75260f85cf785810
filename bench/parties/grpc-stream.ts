import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { ExportKeyingMaterial } from '#core/session/binding.js';

/** A TLS 1.3 connection with HTTP/2 on it. */
export interface Connection {
  readonly http2: ClientHttp2Session;
  readonly exportKeyingMaterial: ExportKeyingMaterial;
  close(): void;
}

/** @param ca PEM; the server's certificate is for "localhost" */
export async function openConnection(address: string, ca: string): Promise<Connection> {
  const [host, port] = address.split(':') as [string, string];
  const socket: TLSSocket = connectTls({
    host,
    port: Number(port),
    ca,
    servername: 'localhost',
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  const http2 = connect('https://localhost', { createConnection: () => socket });
  http2.on('error', () => undefined);
  return {
    http2,
    exportKeyingMaterial: (label, context, length) =>
      new Uint8Array(socket.exportKeyingMaterial(length, label, Buffer.from(context))),
    close: () => http2.destroy(),
  };
}

const headLength = 5;

/** A message as gRPC frames it: not compressed, length, bytes. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headLength + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headLength);
  return frame;
}

/**
 * The cheapest client that there can be of a bidirectional gRPC stream, so that it is the server
 * which limits what is measured.
 */
export class GrpcStream {
  /** Called with each message, valid until the next one. */
  onMessage: (message: Buffer) => void = () => undefined;
  readonly #stream: ClientHttp2Stream;
  readonly #ended: Promise<never>;
  #rest: Buffer | undefined;

  constructor(connection: Connection, path: string) {
    this.#stream = connection.http2.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
    });
    this.#stream.on('data', (chunk: Buffer) => this.#take(chunk));
    let trailers: unknown;
    this.#stream.on('trailers', (headers) => {
      trailers = headers;
    });
    this.#stream.on('response', (headers) => {
      if (headers['grpc-status'] !== undefined) trailers = headers;
    });
    this.#ended = new Promise((_, reject) => {
      this.#stream.on('error', reject);
      this.#stream.on('close', () => {
        reject(new Error(`the server ended a stream: ${JSON.stringify(trailers)}`));
      });
    });
    this.#ended.catch(() => undefined);
  }

  /** @param frame from {@link framed} */
  send(frame: Buffer): void {
    this.#stream.write(frame);
  }

  /** The next message alone. */
  next(): Promise<Buffer> {
    const message = new Promise<Buffer>((resolve) => {
      this.onMessage = resolve;
    });
    return this.orEnded(message);
  }

  /** Rejects where the server ends the stream first. */
  orEnded<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#ended]);
  }

  close(): void {
    this.#stream.close();
  }

  #take(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#rest !== undefined) bytes = Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= headLength) {
      const end = at + headLength + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.onMessage(bytes.subarray(at + headLength, end));
      at = end;
    }
    this.#rest = at === bytes.length ? undefined : bytes.subarray(at);
  }
}
