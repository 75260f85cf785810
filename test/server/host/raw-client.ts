import { fromBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';
import { type ErrorDetail, ErrorDetailSchema, StatusSchema } from '#gen/cvmp/v1/error_pb.js';

/** How a call ended: the answer's bytes, or its status with what the details say. */
export type Outcome =
  | { readonly code: 0; readonly answer: Uint8Array }
  | { readonly code: number; readonly message: string; readonly detail: ErrorDetail | undefined };

const asBytes = (bytes: Buffer) => bytes;

/** A client that sends any bytes, as no honest one would. */
export class RawClient {
  readonly #client: Client;

  constructor(address: string, certificate: string) {
    this.#client = new Client(address, credentials.createSsl(Buffer.from(certificate)), {
      'grpc.ssl_target_name_override': 'localhost',
    });
    onTestFinished(() => this.#client.close());
  }

  unary(
    method: string,
    bytes: Uint8Array,
    authorization?: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(
        `/${method}`,
        asBytes,
        asBytes,
        Buffer.from(bytes),
        metadataOf(authorization, headers),
        (error, answer) => {
          resolve(error === null ? { code: 0, answer: answer as Uint8Array } : outcome(error));
        },
      );
    });
  }

  /** The first answer of a stream, or how it ended without one. */
  firstOf(method: string, bytes: Uint8Array, authorization?: string): Promise<Outcome> {
    const stream = this.serverStream(method, bytes, authorization);
    return new Promise((resolve) => {
      stream.on('data', (answer: Buffer) => resolve({ code: 0, answer }));
      stream.on('error', (error: ServiceError) => resolve(outcome(error)));
    });
  }

  serverStream(method: string, bytes: Uint8Array, authorization?: string, withinMs?: number) {
    return this.#client.makeServerStreamRequest(
      `/${method}`,
      asBytes,
      asBytes,
      Buffer.from(bytes),
      metadataOf(authorization),
      withinMs === undefined ? {} : { deadline: Date.now() + withinMs },
    );
  }

  bidi(method: string, authorization?: string) {
    return this.#client.makeBidiStreamRequest(
      `/${method}`,
      asBytes,
      asBytes,
      metadataOf(authorization),
    );
  }
}

export function outcome(error: ServiceError): Outcome {
  const trailer = error.metadata.get('grpc-status-details-bin')[0];
  let detail: ErrorDetail | undefined;
  if (trailer !== undefined) {
    const [any] = fromBinary(StatusSchema, trailer as Buffer).details;
    if (any !== undefined) detail = fromBinary(ErrorDetailSchema, any.value);
  }
  return { code: error.code, message: error.details, detail };
}

/** "INVALID_ARGUMENT/INVALID_FIELD page_size" */
export function told(result: Outcome): string {
  if (!('message' in result)) return 'OK';
  const { detail } = result;
  const field = detail === undefined || detail.field === '' ? '' : ` ${detail.field}`;
  return `${status[result.code]}/${detail?.code ?? '-'}${field}`;
}

function metadataOf(
  authorization: string | undefined,
  headers: Readonly<Record<string, string>> = {},
): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  if (authorization !== undefined) metadata.set('authorization', authorization);
  return metadata;
}
