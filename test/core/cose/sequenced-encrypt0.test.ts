import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalBytes, utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { encStructure, parseEncrypt0 } from '#core/cose/encrypt0.js';
import { SequencedEncrypt0 } from '#core/cose/sequenced-encrypt0.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';

const key = new Uint8Array(32).fill(7);
const iv = new Uint8Array(12).fill(0xa5);
const context = ['label', 'a2s', new Uint8Array(16)];
const make = () => new SequencedEncrypt0({ key, iv }, 'application/protobuf', context);

/** The same message by the general encoder (RFC 9052 s.5.3, s.3.1). */
function general(sequence: number, plaintext: Uint8Array): Uint8Array {
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(sequence));
  const bucket = encode(
    new Map<number, CborValue>([
      [1, 3],
      [3, 'application/protobuf'],
    ]),
  );
  const whole = iv.slice();
  number.forEach((byte, i) => {
    whole[4 + i]! ^= byte;
  });
  const aad = encStructure(bucket, encode([...context, number]));
  const sealed = crypto.aesGcmSeal(key, whole, plaintext, aad);
  return encode(new Tag(16, [bucket, new Map([[6, number]]), sealed]));
}

describe('COSE_Encrypt0 of one fixed shape', () => {
  it('equals what the general encoder gives, over every length of head', () => {
    const sender = make();
    const receiver = make();
    const lengths = [0, 1, 7, 8, 100, 239, 240, 300, 65_519, 65_520, 70_000];
    for (const [sequence, length] of lengths.entries()) {
      const plaintext = crypto.randomBytes(length);
      const message = sender.seal(plaintext);
      expect(equalBytes(message, general(sequence, plaintext))).toBe(true);
      expect(parseEncrypt0(message).headers.protected.get(1)).toBe(3);
      expect(equalBytes(receiver.open(message), plaintext)).toBe(true);
    }
  });

  it('takes the next message only, unchanged', async () => {
    const messages = (() => {
      const sender = make();
      return [0, 1, 2].map((n) => sender.seal(utf8(`message ${n}`)));
    })();
    const [first, second] = messages;
    const refuses = async (bytes: Uint8Array) =>
      expect(await refusalOf(() => make().open(bytes))).toBe('SEQUENCE');
    await refuses(second!);
    for (let i = 0; i < first!.length; i++) {
      const changed = first!.slice();
      changed[i]! ^= 1;
      await refuses(changed);
      await refuses(first!.subarray(0, i));
    }
    await refuses(new Uint8Array([...first!, 0]));
    const receiver = make();
    receiver.open(first!);
    expect(await refusalOf(() => receiver.open(first!))).toBe('SEQUENCE');
  });

  it('another context, key or iv opens nothing', async () => {
    const message = make().seal(utf8('x'));
    for (const other of [
      new SequencedEncrypt0({ key, iv }, 'application/protobuf', ['label', 's2a', context[2]!]),
      new SequencedEncrypt0({ key, iv }, 'application/cbor', context),
      new SequencedEncrypt0({ key: new Uint8Array(32), iv }, 'application/protobuf', context),
      new SequencedEncrypt0({ key, iv: new Uint8Array(12) }, 'application/protobuf', context),
    ]) {
      expect(await refusalOf(() => other.open(message))).toBe('SEQUENCE');
    }
  });

  it('random bytes are refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        expect(await refusalOf(() => make().open(bytes))).toBe('SEQUENCE');
      }),
      { numRuns: 1000 },
    );
  });

  it('is of no use once destroyed', async () => {
    const sequence = make();
    sequence.destroy();
    expect(await refusalOf(() => sequence.seal(utf8('x')))).toBe('SEQUENCE');
    expect(() => new SequencedEncrypt0({ key: iv, iv }, '', [])).toThrow(TypeError);
  });
});
