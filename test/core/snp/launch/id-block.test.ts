import { beforeAll, describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import type { EcPrivateKey } from '#core/crypto.js';
import type { ErrorCode } from '#core/errors.js';
import {
  encodeIdBlock,
  type IdBlock,
  idAuthLength,
  idBlockLength,
  parseIdBlock,
  signIdBlock,
  snpKeyDigest,
  snpPublicKey,
  verifyIdBlock,
} from '#core/snp/launch/id-block.js';
import { crypto } from '#crypto';
import { flipped } from '../../../fakes/simulated-hardware.js';
import { refusalOf } from '../../../refusal.js';

const block: IdBlock = {
  measurement: new Uint8Array(48).fill(1),
  familyId: new Uint8Array(16).fill(2),
  imageId: new Uint8Array(16).fill(3),
  guestSvn: 0x01020304,
  guestPolicy: 0x30000n,
};

let idKey: EcPrivateKey;
let authorKey: EcPrivateKey;
beforeAll(async () => {
  [idKey, authorKey] = await Promise.all([
    crypto.generateEcKey('P-384'),
    crypto.generateEcKey('P-384'),
  ]);
});

describe('ID block (SEV-SNP ABI s.8.18)', () => {
  const bytes = encodeIdBlock(block);

  it('has 96 bytes, and is read as it was written', () => {
    expect(bytes.length).toBe(idBlockLength);
    expect(parseIdBlock(bytes)).toEqual(block);
    expect(toHex(bytes.subarray(80))).toBe('01000000' + '04030201' + '0000030000000000');
  });

  it.each<[why: string, code: ErrorCode, bytes: () => Uint8Array]>([
    ['one byte less', 'MALFORMED', () => bytes.subarray(0, 95)],
    ['one byte more', 'MALFORMED', () => Uint8Array.of(...bytes, 0)],
    ['another version', 'UNSUPPORTED_VERSION', () => flipped(bytes, 80, 2)],
  ])('refuses %s', async (_, code, make) => {
    expect(await refusalOf(() => parseIdBlock(make()))).toBe(code);
  });

  it('says whose keys signed it', async () => {
    const auth = await signIdBlock(bytes, idKey);
    expect(auth.length).toBe(idAuthLength);
    expect(await verifyIdBlock(bytes, auth)).toEqual({
      idKeyDigest: snpKeyDigest(idKey.publicPoint),
      authorKeyDigest: undefined,
    });
    const both = await signIdBlock(bytes, idKey, authorKey);
    expect(await verifyIdBlock(bytes, both)).toEqual({
      idKeyDigest: snpKeyDigest(idKey.publicPoint),
      authorKeyDigest: snpKeyDigest(authorKey.publicPoint),
    });
  });

  it("keys are hashed in AMD's form: curve, X and Y little-endian in 72 bytes, 1028 in all", () => {
    const key = snpPublicKey(idKey.publicPoint);
    expect(key.length).toBe(0x404);
    expect(toHex(key.subarray(0, 4))).toBe('02000000');
    expect(toHex(key.slice(4, 52).reverse())).toBe(toHex(idKey.publicPoint.slice(1, 49)));
    expect(toHex(snpKeyDigest(idKey.publicPoint))).toBe(toHex(crypto.hash('sha384', key)));
  });

  it('every changed byte of the block is refused', async () => {
    const auth = await signIdBlock(bytes, idKey);
    for (let i = 0; i < bytes.length; i += 5) {
      expect(await refusalOf(verifyIdBlock(flipped(bytes, i), auth))).toBe('SIGNATURE_INVALID');
    }
  });

  it.each<[why: string, offset: number, code: ErrorCode]>([
    ['the algorithm of the ID key', 0x000, 'UNSUPPORTED_ALGORITHM'],
    ['the algorithm of the author key', 0x004, 'UNSUPPORTED_ALGORITHM'],
    ['R of the block', 0x040, 'SIGNATURE_INVALID'],
    ['R beyond 48 bytes', 0x070, 'MALFORMED'],
    ['S of the block', 0x088, 'SIGNATURE_INVALID'],
    ['the curve of the ID key', 0x240, 'UNSUPPORTED_ALGORITHM'],
    ['X of the ID key', 0x244, 'SIGNATURE_INVALID'],
    ['X beyond 48 bytes', 0x274, 'MALFORMED'],
    ['the signature of the ID key', 0x680, 'SIGNATURE_INVALID'],
    ['the author key', 0x884, 'SIGNATURE_INVALID'],
  ])('refuses a change of %s', async (_, offset, code) => {
    const auth = await signIdBlock(bytes, idKey, authorKey);
    expect(await refusalOf(verifyIdBlock(bytes, flipped(auth, offset)))).toBe(code);
  });

  it('refuses other lengths', async () => {
    const auth = await signIdBlock(bytes, idKey);
    expect(await refusalOf(verifyIdBlock(bytes.subarray(1), auth))).toBe('SIZE');
    expect(await refusalOf(verifyIdBlock(bytes, auth.subarray(1)))).toBe('SIZE');
  });
});
