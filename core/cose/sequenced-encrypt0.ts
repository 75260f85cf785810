import { crypto } from '#crypto';
import { concat, equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { encStructure } from './encrypt0.js';
import { label } from './headers.js';

/** One direction of a stream of COSE_Encrypt0 messages. */
export interface SequenceKeys {
  /** AES-256-GCM, 32 bytes. */
  readonly key: Uint8Array;
  /** Context IV (RFC 9052 s.3.1), 12 bytes; the sequence number as Partial IV is XORed into it. */
  readonly iv: Uint8Array;
}

const a256gcm = 3;
const sequenceLength = 8;
const tagLength = 16;
/** Far below what AES-GCM allows under one key (SP 800-38D s.8.3: 2^32). */
const messagesMax = 2 ** 32;
/** COSE_Encrypt0 tag and array of three. */
const opening = new Uint8Array([0xd0, 0x83]);
/** The unprotected bucket up to the sequence number: {6: h'8 bytes'}. */
const partialIv = new Uint8Array([0xa1, label.partialIv, 0x40 | sequenceLength]);

/**
 * Tagged COSE_Encrypt0 messages of one fixed shape: protected {alg: A256GCM, content type},
 * unprotected {Partial IV: 8-byte sequence number}, external_aad = det-CBOR [...context, sequence].
 * Equal to what the general encoder gives, byte for byte, at a fraction of its cost. A message is
 * accepted at its own place in the sequence only: no gap, no repetition, no other encoding.
 */
export class SequencedEncrypt0 {
  readonly #key: Uint8Array;
  readonly #contextIv: Uint8Array;
  /** Message up to the sequence number. */
  readonly #prefix: Uint8Array;
  /** Enc_structure, which ends in the sequence number. */
  readonly #aad: Uint8Array;
  readonly #iv = new Uint8Array(12);
  #sequence = 0;

  /** @param contentType of the plaintext, a media type; @param context enters every message's AAD */
  constructor(keys: SequenceKeys, contentType: string, context: readonly CborValue[]) {
    if (keys.key.length !== 32 || keys.iv.length !== 12) throw new TypeError('key or iv length');
    this.#key = keys.key.slice();
    this.#contextIv = keys.iv.slice();
    const headers: [CborKey, CborValue][] = [
      [label.alg, a256gcm],
      [label.contentType, contentType],
    ];
    const bucket = encode(new Map(headers));
    this.#prefix = concat(opening, encode(bucket), partialIv);
    this.#aad = encStructure(bucket, encode([...context, new Uint8Array(sequenceLength)]));
  }

  /** The next message. @throws CvmpError SEQUENCE where the sequence is used up */
  seal(plaintext: Uint8Array): Uint8Array {
    const sequence = this.#advance();
    const sealed = crypto.aesGcmSeal(this.#key, this.#iv, plaintext, this.#aad);
    return concat(this.#prefix, sequence, byteStringHead(sealed.length), sealed);
  }

  /** @throws CvmpError SEQUENCE unless it is the next message, unchanged */
  open(message: Uint8Array): Uint8Array {
    const sequence = this.#advance();
    const prefix = concat(this.#prefix, sequence);
    const headLength = headLengthOf(message.length - prefix.length);
    const sealedAt = prefix.length + headLength;
    const length = message.length - sealedAt;
    const head = length < tagLength ? undefined : byteStringHead(length);
    if (
      head === undefined ||
      head.length !== headLength ||
      !equalBytes(message.subarray(0, sealedAt), concat(prefix, head))
    ) {
      throw new CvmpError('SEQUENCE', 'not the next sealed frame');
    }
    try {
      return crypto.aesGcmOpen(this.#key, this.#iv, message.subarray(sealedAt), this.#aad);
    } catch (cause) {
      throw new CvmpError('SEQUENCE', 'the sealed frame does not open', { cause });
    }
  }

  /** Overwrites the key. Nothing can be sealed or opened afterwards. */
  destroy(): void {
    this.#key.fill(0);
    this.#contextIv.fill(0);
    this.#sequence = messagesMax;
  }

  /** Puts the next sequence number into iv and AAD, and returns its 8 bytes. */
  #advance(): Uint8Array {
    if (this.#sequence >= messagesMax) throw new CvmpError('SEQUENCE', 'the sequence has ended');
    const sequence = new Uint8Array(sequenceLength);
    new DataView(sequence.buffer).setUint32(4, this.#sequence++);
    this.#aad.set(sequence, this.#aad.length - sequenceLength);
    this.#iv.set(this.#contextIv);
    for (let i = 0; i < sequenceLength; i++) this.#iv[4 + i]! ^= sequence[i]!;
    return sequence;
  }
}

/** The shortest head of a byte string (RFC 8949 s.3). */
function byteStringHead(length: number): Uint8Array {
  if (length < 24) return new Uint8Array([0x40 | length]);
  if (length < 0x100) return new Uint8Array([0x58, length]);
  if (length < 0x1_0000) return new Uint8Array([0x59, length >> 8, length & 0xff]);
  const head = new Uint8Array([0x5a, 0, 0, 0, 0]);
  new DataView(head.buffer).setUint32(1, length);
  return head;
}

/** Length of the head of a byte string that takes `total` bytes with its head. */
function headLengthOf(total: number): number {
  if (total < 1 + 24) return 1;
  if (total < 2 + 0x100) return 2;
  return total < 3 + 0x1_0000 ? 3 : 5;
}
