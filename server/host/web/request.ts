import type { DescMethod } from '@bufbuild/protobuf';
import type { UniversalServerRequest } from '@connectrpc/connect/protocol';
import { concat } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { decodeJsonStrict } from '#wire/json.js';
import { decodeStrict } from '#wire/strict.js';

// Connect parses leniently, and before anybody can say who calls. So a body is read and judged here,
// after admission; what connect gets to parse is then known to be good, or is an empty message in
// place of one that is refused, so that the refusal goes out in the protocol of the call.

/** How a request carries its message, by its content type; undefined: no protocol of ours. */
interface Carriage {
  readonly json: boolean;
  /** Messages have a prefix of 5 bytes (flags, length). */
  readonly enveloped: boolean;
}

const prefixLength = 5;

function carriageOf(contentType: string | null): Carriage | undefined {
  const type = contentType?.split(';')[0]?.trim().toLowerCase();
  const match = /^application\/(?:(proto|json)|(grpc|grpc-web|connect)(?:\+(proto|json))?)$/.exec(
    type ?? '',
  );
  if (match === null) return undefined;
  return { json: (match[1] ?? match[3]) === 'json', enveloped: match[2] !== undefined };
}

/**
 * Reads the one message of a unary or server-streaming call and judges it.
 * @returns the body as it came
 * @throws CvmpError MESSAGE_SIZE, INVALID_FIELD, MALFORMED
 */
export async function readBody(
  method: DescMethod,
  request: UniversalServerRequest,
  messageBytesMax: number,
): Promise<Uint8Array> {
  const carriage = carriageOf(request.header.get('content-type'));
  const body = await collect(request.body, messageBytesMax + prefixLength);
  // No protocol, or compressed, which is not offered: connect answers in its own words.
  const encoded = request.header.get('content-encoding') ?? 'identity';
  if (carriage === undefined || encoded !== 'identity') return body;
  if (carriage.enveloped && (body[0] ?? 0) !== 0) return body;
  const message = carriage.enveloped ? unwrap(body) : body;
  if (carriage.json) decodeJsonStrict(method.input, message);
  else decodeStrict(method.input, message);
  return body;
}

async function collect(
  body: UniversalServerRequest['body'],
  bytesMax: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > bytesMax) {
      throw new CvmpError('MESSAGE_SIZE', `the message is longer than ${bytesMax} bytes`);
    }
    parts.push(part);
  }
  return concat(...parts);
}

/** Exactly one envelope. */
function unwrap(body: Uint8Array): Uint8Array {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < prefixLength || view.getUint32(1) !== body.length - prefixLength) {
    throw new CvmpError('MALFORMED', 'not one enveloped message');
  }
  return body.subarray(prefixLength);
}

/** The same request around other bytes; `undefined`: around an empty message of its protocol. */
export function withBody(
  request: UniversalServerRequest,
  body: Uint8Array | undefined,
): UniversalServerRequest {
  const bytes = body ?? emptyBody(carriageOf(request.header.get('content-type')));
  const header = new Headers(request.header);
  if (header.has('content-length')) header.set('content-length', String(bytes.length));
  if (body === undefined) header.delete('content-encoding');
  return { ...request, header, body: once(bytes) };
}

function emptyBody(carriage: Carriage | undefined): Uint8Array {
  const message = carriage?.json ? Uint8Array.of(0x7b, 0x7d) : new Uint8Array();
  if (!carriage?.enveloped) return message;
  return concat(Uint8Array.of(0, 0, 0, 0, message.length), message);
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
