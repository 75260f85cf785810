import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AcquireReason,
  AgentMessageSchema,
  type KeyAcquireResponseSchema,
  ServerMessageSchema,
  SessionRequestSchema,
  SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { readShort, writeShort } from '#wire/short-cuts.js';
import { decodeStrict } from '#wire/strict.js';
import { readMessage, validate, writeMessage } from '#wire/validate.js';

// The short cuts of KeyAcquire must be nobody's own dialect: what they read, the library reads, to
// the same message and by the same rules; what they write, the library writes, byte for byte.

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const small = fc.integer({ min: 0, max: 127 });
const id = bytes(16);

const agentMessage = fc
  .tuple(id, id, small, fc.integer({ min: 0, max: 3 }), small)
  .map(([requestId, keyId, svn, reason, epoch]) =>
    create(AgentMessageSchema, {
      requestId,
      request: {
        case: 'keyAcquire',
        value: { keyId, svn, reason: reason as AcquireReason, epoch },
      },
    }),
  );

type Acquired = MessageInitShape<typeof KeyAcquireResponseSchema>;

const serverMessage = fc
  .record({
    requestId: id,
    value: fc.record({
      securityKey: fc.oneof(bytes(16), bytes(32), bytes(64)),
      svn: fc.integer({ min: 0, max: 200 }),
      svnFloor: small,
      svnRetired: small,
      level: small,
      rekeyAdvised: fc.boolean(),
      kcv: bytes(8),
      epoch: fc.integer({ min: 0, max: 300 }),
      rekeySvn: small,
    }),
    checkpoint: fc.oneof(bytes(0), bytes(127), bytes(128), bytes(245)),
  })
  .map(({ requestId, value, checkpoint }) =>
    create(ServerMessageSchema, {
      requestId,
      response: { case: 'keyAcquire', value: value as Acquired },
      checkpoint,
    }),
  );

/** The library's reading, or its refusal. */
function byLibrary(schema: typeof AgentMessageSchema | typeof SessionRequestSchema, b: Uint8Array) {
  const message = decodeStrict(schema, b);
  validate(schema, message);
  return message;
}

describe('the short cuts of KeyAcquire read what the library reads', () => {
  it('a KeyAcquire', () => {
    fc.assert(
      fc.property(agentMessage, (message) => {
        const encoded = toBinary(AgentMessageSchema, message);
        expect(readShort(AgentMessageSchema, encoded)).toEqual(message);
        expect(byLibrary(AgentMessageSchema, encoded)).toEqual(message);
      }),
    );
  });

  it('a sealed frame of any length that one may have', () => {
    for (const length of [1, 126, 127, 128, 129, 255, 256, 16_382, 16_383, 16_384]) {
      const value = new Uint8Array(length).fill(length);
      const message = create(SessionRequestSchema, { frame: { case: 'sealed', value } });
      const encoded = toBinary(SessionRequestSchema, message);
      expect(readMessage(SessionRequestSchema, encoded)).toEqual(message);
      expect(readShort(SessionRequestSchema, encoded) === undefined).toBe(length > 16_383);
    }
  });

  it.each([
    ['AgentMessage', AgentMessageSchema, () => fc.sample(agentMessage, { numRuns: 3, seed: 7 })],
    [
      'SessionRequest',
      SessionRequestSchema,
      () => [
        create(SessionRequestSchema, { frame: { case: 'sealed', value: new Uint8Array(200) } }),
      ],
    ],
  ] as const)('nothing that the library refuses or reads otherwise: %s', (_, schema, seeds) => {
    for (const seed of seeds()) {
      const good = toBinary(schema as typeof AgentMessageSchema, seed as never);
      for (let at = 0; at < good.length; at++) {
        for (const bits of [0x01, 0x02, 0x08, 0x10, 0x80, 0xff]) {
          const bad = good.slice();
          bad[at]! ^= bits;
          holdsTo(bad);
        }
        holdsTo(good.slice(0, at));
      }
      holdsTo(Uint8Array.of(...good, 0));
      holdsTo(Uint8Array.of(...good, 0x10, 1));
    }

    function holdsTo(encoded: Uint8Array) {
      const short = readShort(schema, encoded);
      if (short !== undefined) expect(byLibrary(schema, encoded)).toEqual(short);
    }
  });
});

describe('the short cuts of KeyAcquire write what the library writes', () => {
  it('a KeyAcquireResponse', () => {
    fc.assert(
      fc.property(serverMessage, (message) => {
        const expected = toBinary(ServerMessageSchema, message);
        expect(writeMessage(ServerMessageSchema, message)).toEqual(expected);
      }),
    );
  });

  it('they write the plain form themselves', () => {
    const [message] = fc.sample(serverMessage, { numRuns: 1, seed: 3 });
    expect(writeShort(ServerMessageSchema, message!)).toBeDefined();
  });

  it('a sealed frame of any length', () => {
    for (const length of [0, 1, 127, 128, 16_383, 16_384]) {
      const value = new Uint8Array(length).fill(7);
      const message = create(SessionResponseSchema, { frame: { case: 'sealed', value } });
      const expected = toBinary(SessionResponseSchema, message);
      expect(writeMessage(SessionResponseSchema, message)).toEqual(expected);
    }
  });
});
