import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { encrypt0, openEncrypt0, parseEncrypt0 } from '#core/cose/encrypt0.js';
import { refusalOf } from '../../refusal.js';

const plaintext = utf8('This is the content.');
const iv = utf8('0123456789ab');
const externalAad = utf8('aad');
const keyOf = (length: number) => new Uint8Array(length).fill(7);

describe('COSE_Encrypt0 (RFC 9052 s.5.2, s.5.3)', () => {
  it.each([16, 24, 32])('seals and opens under a %i byte key', (length) => {
    const bytes = encrypt0(keyOf(length), iv, plaintext, {}, { externalAad });
    const message = parseEncrypt0(bytes);
    expect(openEncrypt0(message, keyOf(length), { externalAad })).toEqual(plaintext);
    expect(message.headers.protected.get(1)).toBe(length / 8 - 1);
  });

  it('a change of any byte, another key, key length or external_aad is refused', async () => {
    const good = encrypt0(keyOf(32), iv, plaintext, {}, { externalAad });
    const open = (bytes: Uint8Array, key = keyOf(32), aad = externalAad) =>
      refusalOf(() => openEncrypt0(parseEncrypt0(bytes), key, { externalAad: aad }));
    expect(await open(good)).toBe('accepted');
    for (let i = 0; i < good.length; i++) {
      const bytes = good.slice();
      bytes[i]! ^= 0x01;
      expect(await open(bytes), `byte ${i}`).not.toBe('accepted');
    }
    expect(await open(good, new Uint8Array(32))).toBe('DECRYPT_FAILED');
    expect(await open(good, keyOf(16))).toBe('DECRYPT_FAILED');
    expect(await open(good, keyOf(32), utf8('other'))).toBe('DECRYPT_FAILED');
  });
});
