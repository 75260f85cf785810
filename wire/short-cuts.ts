import type { DescMessage, Message } from '@bufbuild/protobuf';
import {
  type AcquireReason,
  type AgentMessage,
  AgentMessageSchema,
  type KeyAcquireResponse,
  type ServerMessage,
  ServerMessageSchema,
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';

// The four messages of a KeyAcquire, read and written in their plain form without the library's
// reflection: that took a fifth of the server's time for it (measured, docs/benchmarks.md). Whatever
// is not of exactly this form, right or wrong, is left to the library; a test holds the two equal.

/** 0x1a: field 3, length-delimited. */
const lengthDelimited = (field: number) => (field << 3) | 2;
const varint = (field: number) => field << 3;
/** Enough for 16383, above which the library reads. */
const oneByte = 0x80;
const twoBytes = 0x4000;
const idLength = 16;

type Read = (bytes: Uint8Array) => Message | undefined;
type Write = (message: Message) => Uint8Array | undefined;

const reads = new Map<DescMessage, Read>([
  [SessionRequestSchema, sealedRequest],
  [AgentMessageSchema, keyAcquire],
]);
const writes = new Map<DescMessage, Write>([
  [SessionResponseSchema, (message) => sealedResponse(message as SessionResponse)],
  [ServerMessageSchema, (message) => acquired(message as ServerMessage)],
]);

/** The message, where a short cut reads it: valid by every rule of proto/. */
export function readShort(schema: DescMessage, bytes: Uint8Array): Message | undefined {
  return reads.get(schema)?.(bytes);
}

/** The serialised message, where a short cut writes it. */
export function writeShort(schema: DescMessage, message: Message): Uint8Array | undefined {
  return writes.get(schema)?.(message);
}

/** SessionRequest {sealed}. */
function sealedRequest(bytes: Uint8Array): SessionRequest | undefined {
  const first = bytes[1]!;
  const second = bytes[2]!;
  const length = first < oneByte ? first : (first & 0x7f) | (second << 7);
  const at = first < oneByte ? 2 : 3;
  const plain =
    bytes[0] === lengthDelimited(3) &&
    length > 0 &&
    at + length === bytes.length &&
    // Not overlong, and no third byte of length.
    (first < oneByte || (second > 0 && second < oneByte));
  if (!plain) return undefined;
  return {
    $typeName: 'cvmp.v1.SessionRequest',
    frame: { case: 'sealed', value: bytes.subarray(at) },
  };
}

/** AgentMessage {request_id, key_acquire {key_id, svn and epoch below 128, reason}}. */
function keyAcquire(bytes: Uint8Array): AgentMessage | undefined {
  const { length } = bytes;
  const inner = 2 + idLength + 2;
  let at = inner + 2 + idLength;
  if (
    length < at ||
    bytes[0] !== lengthDelimited(1) ||
    bytes[1] !== idLength ||
    bytes[2 + idLength] !== lengthDelimited(3) ||
    bytes[inner - 1] !== length - inner ||
    bytes[inner] !== lengthDelimited(1) ||
    bytes[inner + 1] !== idLength
  ) {
    return undefined;
  }
  let svn = 0;
  let reason = 0;
  let epoch = 0;
  if (bytes[at] === varint(2)) {
    svn = bytes[at + 1] ?? oneByte;
    at += 2;
  }
  if (bytes[at] === varint(3)) {
    reason = bytes[at + 1] ?? oneByte;
    at += 2;
  }
  if (bytes[at] === varint(4)) {
    epoch = bytes[at + 1] ?? oneByte;
    at += 2;
  }
  if (at !== length || svn >= oneByte || reason > 3 || epoch >= oneByte) return undefined;
  return {
    $typeName: 'cvmp.v1.AgentMessage',
    requestId: bytes.subarray(2, 2 + idLength),
    request: {
      case: 'keyAcquire',
      value: {
        $typeName: 'cvmp.v1.KeyAcquireRequest',
        keyId: bytes.subarray(inner + 2, inner + 2 + idLength),
        svn,
        reason: reason as AcquireReason,
        epoch,
      },
    },
  };
}

/** SessionResponse {sealed}. */
function sealedResponse({ frame }: SessionResponse): Uint8Array | undefined {
  if (frame.case !== 'sealed') return undefined;
  const { length } = frame.value;
  if (length >= twoBytes) return undefined;
  const at = length < oneByte ? 2 : 3;
  const out = new Uint8Array(at + length);
  out[0] = lengthDelimited(3);
  out[1] = length < oneByte ? length : (length & 0x7f) | 0x80;
  if (at === 3) out[2] = length >> 7;
  out.set(frame.value, at);
  return out;
}

/** ServerMessage {request_id, key_acquire, checkpoint} with numbers below 128. */
function acquired({ requestId, response, checkpoint }: ServerMessage): Uint8Array | undefined {
  if (response.case !== 'keyAcquire' || requestId.length !== idLength) return undefined;
  const { value } = response;
  const numbers = numbersOf(value);
  const { securityKey, kcv } = value;
  const room = 2 + securityKey.length + 2 + kcv.length + 2 * numbers.length;
  if (room >= oneByte || numbers.some(([, n]) => n >= oneByte)) return undefined;
  if (checkpoint.length >= twoBytes) return undefined;
  const out = new Uint8Array(2 + idLength + 2 + room + 3 + checkpoint.length);
  let at = 0;
  const field = (number: number, content: Uint8Array) => {
    const { length } = content;
    if (length === 0) return;
    out[at++] = lengthDelimited(number);
    out[at++] = length < oneByte ? length : (length & 0x7f) | 0x80;
    if (length >= oneByte) out[at++] = length >> 7;
    out.set(content, at);
    at += content.length;
  };
  field(1, requestId);
  const lengthAt = at + 1;
  out[at] = lengthDelimited(4);
  at += 2;
  field(1, securityKey);
  for (const [number, n] of numbers) {
    if (number === 8) field(7, kcv);
    if (n === 0) continue;
    out[at++] = varint(number);
    out[at++] = n;
  }
  out[lengthAt] = at - lengthAt - 1;
  field(15, checkpoint);
  return out.subarray(0, at);
}

/** Fields 2 to 6, 8 and 9, in their order; 0 is not written. */
function numbersOf(value: KeyAcquireResponse): readonly (readonly [number, number])[] {
  return [
    [2, value.svn],
    [3, value.svnFloor],
    [4, value.svnRetired],
    [5, value.level],
    [6, value.rekeyAdvised ? 1 : 0],
    [8, value.epoch],
    [9, value.rekeySvn],
  ];
}
