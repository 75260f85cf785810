import { describe, expect, test } from 'vitest';
import { firstCertificate, splitDer } from '#agent/attester/tpm/certificates.js';
import { concat } from '#core/bytes.js';

const der = (length: number, ...header: number[]) =>
  concat(Uint8Array.from([0x30, ...header]), new Uint8Array(length).fill(7));
const short = der(5, 5);
const long = der(200, 0x81, 200);
const longer = der(700, 0x82, 0x02, 0xbc);

describe('certificates in NV indices (TCG EK Credential Profile 2.2.1)', () => {
  test.each<[string, Uint8Array, readonly Uint8Array[]]>([
    ['nothing', new Uint8Array(), []],
    ['one of each length form', concat(short, long, longer), [short, long, longer]],
    ['padding of zeros', concat(long, new Uint8Array(9)), [long]],
    ['padding of FF', concat(longer, new Uint8Array(9).fill(0xff)), [longer]],
    ['padding alone', new Uint8Array(9).fill(0xff), []],
    ['one that is cut', concat(short, longer.subarray(0, 600)), [short]],
    ['a header that is cut', concat(short, Uint8Array.of(0x30)), [short]],
    ['a length of three bytes', Uint8Array.of(0x30, 0x83, 0, 0, 1, 7), []],
  ])('%s', (_, bytes, expected) => {
    expect(splitDer(bytes)).toEqual(expected);
  });

  test('what is no certificate is none', () => {
    for (const bytes of [short, long, new Uint8Array(4)]) {
      expect(firstCertificate(bytes)).toBeUndefined();
    }
  });
});
