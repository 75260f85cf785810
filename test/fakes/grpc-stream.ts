import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
} from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { fromBinary } from '@bufbuild/protobuf';
import { concat } from '#core/bytes.js';
import { ErrorDetailSchema, StatusSchema } from '#gen/cvmp/v1/error_pb.js';

/** How a stream ended: gRPC status and the stable code of its details. */
export interface StreamEnd {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/**
 * One gRPC stream over a TLS connection of its own, framed by hand, so that a test holds the socket
 * and can send what no client library would.
 */
export class GrpcStream {
  readonly socket: TLSSocket;
  readonly #session: ClientHttp2Session;
  readonly stream: ClientHttp2Stream;
  #buffer: Uint8Array = new Uint8Array();
  readonly #messages: Uint8Array[] = [];
  #end: StreamEnd | undefined;
  #wake: () => void = () => undefined;

  private constructor(socket: TLSSocket, session: ClientHttp2Session, stream: ClientHttp2Stream) {
    this.socket = socket;
    this.#session = session;
    this.stream = stream;
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
    // A refusal before any message comes as headers alone.
    stream.on('response', (headers) => this.#trailers(headers));
    stream.on('trailers', (headers) => this.#trailers(headers));
    stream.on('error', () => undefined);
    stream.on('close', () => this.#ended({ status: -1, code: 'CLOSED', message: 'closed' }));
  }

  static async open(
    address: string,
    path: string,
    ca: string,
    headers: Record<string, string> = {},
  ): Promise<GrpcStream> {
    const [host = '', port] = address.split(':');
    const socket = connectTls({
      host,
      port: Number(port),
      ca,
      servername: 'localhost',
      ALPNProtocols: ['h2'],
    });
    await once(socket, 'secureConnect');
    const session = connectHttp2('https://localhost', { createConnection: () => socket });
    session.on('error', () => undefined);
    return new GrpcStream(socket, session, request(session, path, headers));
  }

  /** One more stream on the same connection. */
  another(path: string): GrpcStream {
    return new GrpcStream(this.socket, this.#session, request(this.#session, path, {}));
  }

  /** Sends one message. */
  send(message: Uint8Array): void {
    const head = new Uint8Array(5);
    new DataView(head.buffer).setUint32(1, message.length);
    this.stream.write(concat(head, message));
  }

  /** The next message, or how the stream ended. */
  async next(): Promise<Uint8Array | StreamEnd> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#end !== undefined) return this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** How the stream ends; messages in between are dropped. */
  async end(): Promise<StreamEnd> {
    for (;;) {
      const got = await this.next();
      if (!(got instanceof Uint8Array)) return got;
    }
  }

  halfClose(): void {
    this.stream.end();
  }

  /** Leaves without a word. */
  vanish(): void {
    this.socket.destroy();
  }

  close(): void {
    this.#session.destroy();
  }

  #data(chunk: Uint8Array): void {
    this.#buffer = concat(this.#buffer, chunk);
    while (this.#buffer.length >= 5) {
      const view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset);
      const end = 5 + view.getUint32(1);
      if (this.#buffer.length < end) return;
      this.#messages.push(this.#buffer.slice(5, end));
      this.#buffer = this.#buffer.slice(end);
      this.#wake();
    }
  }

  #trailers(headers: Record<string, unknown>): void {
    const status = headers['grpc-status'];
    if (status === undefined) return;
    const details = headers['grpc-status-details-bin'];
    let code = '';
    if (typeof details === 'string') {
      const [any] = fromBinary(StatusSchema, Buffer.from(details, 'base64')).details;
      if (any !== undefined) code = fromBinary(ErrorDetailSchema, any.value).code;
    }
    const message = decodeURI(String(headers['grpc-message'] ?? ''));
    this.#ended({ status: Number(status), code, message });
  }

  #ended(end: StreamEnd): void {
    this.#end ??= end;
    this.#wake();
  }
}

function request(
  session: ClientHttp2Session,
  path: string,
  headers: Record<string, string>,
): ClientHttp2Stream {
  return session.request({
    ':method': 'POST',
    ':path': `/${path}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
}
