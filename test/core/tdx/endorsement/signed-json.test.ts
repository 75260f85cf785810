import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { parseSignedJson } from '#core/tdx/endorsement/signed-json.js';
import { refusalOf } from '../../../refusal.js';

const signature = 'ab'.repeat(64);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const parse = (json: string) => parseSignedJson(utf8(json), 'tcbInfo');

describe('signed JSON of Intel (protocol.md s.3.2 step 3: over the exact bytes)', () => {
  it('cuts out the exact text of the value', () => {
    const value = '{ "a" : "}\\"{", "b":[{"c":{}}] ,"d":1}';
    for (const json of [
      `{"tcbInfo":${value},"signature":"${signature}"}`,
      `{"signature":"${signature}","tcbInfo":${value}}`,
      ` {\n "tcbInfo" : ${value} , "signature":"${signature}" } `,
    ]) {
      const parsed = parse(json);
      expect(text(parsed.signedBytes)).toBe(value);
      expect(parsed.value).toEqual(JSON.parse(value));
    }
  });

  it('the value that is read is the text that is verified, also where a member occurs twice', () => {
    const parsed = parse(`{"tcbInfo":{"a":1},"tcbInfo":{"a":2},"signature":"${signature}"}`);
    expect(text(parsed.signedBytes)).toBe('{"a":1}');
    expect(parsed.value).toEqual({ a: 1 });
  });

  const rows: [string, string, string][] = [
    ['no JSON', 'tcbInfo', 'MALFORMED'],
    ['no object', '[]', 'MALFORMED'],
    ['no signature', '{"tcbInfo":{}}', 'MALFORMED'],
    ['another member', `{"enclaveIdentity":{},"signature":"${signature}"}`, 'MALFORMED'],
    ['more members', `{"tcbInfo":{},"x":1,"signature":"${signature}"}`, 'MALFORMED'],
    ['a value that is no object', `{"tcbInfo":[],"signature":"${signature}"}`, 'MALFORMED'],
    ['a signature that is no text', '{"tcbInfo":{},"signature":1}', 'MALFORMED'],
    ['a signature that is no hex', '{"tcbInfo":{},"signature":"xy"}', 'MALFORMED'],
    ['a signature of 63 bytes', `{"tcbInfo":{},"signature":"${'ab'.repeat(63)}"}`, 'MALFORMED'],
    ['256 KiB', `{"tcbInfo":{"a":"${'a'.repeat(262144)}"},"signature":"${signature}"}`, 'SIZE'],
  ];
  it.each(rows)('%s is refused', async (_, json, code) => {
    expect(await refusalOf(() => parse(json))).toBe(code);
  });

  it('bytes that are not UTF-8 are refused', async () => {
    const bytes = utf8(`{"tcbInfo":{"a":"b"},"signature":"${signature}"}`);
    bytes[17] = 0xff;
    expect(await refusalOf(() => parseSignedJson(bytes, 'tcbInfo'))).toBe('MALFORMED');
  });

  it('any object comes back as it was written', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.json()), (object) => {
        const value = JSON.stringify(object);
        const parsed = parse(`{"tcbInfo":${value},"signature":"${signature}"}`);
        expect(text(parsed.signedBytes)).toBe(value);
      }),
      { numRuns: 200 },
    );
  });

  it('any text gives a coded error or a value, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 60 }), async (noise) => {
        await refusalOf(() => parse(noise));
        await refusalOf(() => parse(`{"tcbInfo":{${noise}},"signature":"${signature}"}`));
      }),
      { numRuns: 300 },
    );
  });
});
