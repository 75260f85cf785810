import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toBase64Url, toHex, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { encrypt0 } from '#core/cose/encrypt0.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { judges } from '../../scripts/vectors/judges.js';
import { summarise } from '../../scripts/vectors/report.js';
import { judgeAll } from '../../scripts/vectors/run.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';

describe.skipIf(sharedVectors() === undefined)(
  'COSE and Wycheproof (needs ../shared/vectors)',
  () => {
    it('gives what every file says', async () => {
      const report = summarise(await judgeAll(join(sharedVectors()!, 'cose'), judges));
      expect(report.mismatches).toEqual([]);
      expect(report.notJudged).toEqual([]);
      expect(report.kinds.every((kind) => kind.total > 0)).toBe(true);
    });
  },
);

function writeFolder(expected: object, files: Record<string, object>): string {
  const root = temporaryFolder('cose');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, 'expected.json'), JSON.stringify(expected));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(root, name), JSON.stringify(content));
  }
  return root;
}

const plaintext = 'self-made';

function jwk(key: EcPrivateKey): object {
  const length = (key.publicPoint.length - 1) / 2;
  return {
    kty: 'EC',
    crv: key.curve,
    x: toBase64Url(key.publicPoint.slice(1, 1 + length)),
    y: toBase64Url(key.publicPoint.slice(1 + length)),
  };
}

const example = (structure: string, input: object, cbor: Uint8Array) => ({
  input: { plaintext, [structure]: input },
  output: { cbor: toHex(cbor) },
});

describe('the judge of COSE examples, on self-made ones', () => {
  it('accepts the sound ones and refuses each change', async () => {
    const key = await crypto.generateEcKey('P-384');
    const other = await crypto.generateEcKey('P-384');
    const signed = await sign1(key, utf8(plaintext));
    const secret = crypto.randomBytes(32);
    const recipients = [{ key: { kty: 'oct', k: toBase64Url(secret) } }];
    const sealed = encrypt0(secret, crypto.randomBytes(12), utf8(plaintext));
    const retagged = encode(new Tag(998, (decode(signed, { tags: [18] }) as Tag).value));
    const bucket = encode(new Map([[1, 5]]));
    const tag = crypto.hmac('sha256', secret, encode(['MAC0', bucket, utf8(''), utf8(plaintext)]));
    const mac0: CborValue[] = [bucket, new Map(), utf8(plaintext), tag];
    const changed = (bytes: Uint8Array) => {
      const copy = bytes.slice();
      copy[copy.length - 1]! ^= 1;
      return copy;
    };
    const files = {
      'sound-sign': example('sign0', { key: jwk(key) }, signed),
      'changed-sign': example('sign0', { key: jwk(key) }, changed(signed)),
      'other-key': example('sign0', { key: jwk(other) }, signed),
      'other-tag': example('sign0', { key: jwk(key) }, retagged),
      'other-aad': example('sign0', { key: jwk(key), external: '00' }, signed),
      'sound-encrypt': example('encrypted', { recipients }, sealed),
      'changed-encrypt': example('encrypted', { recipients }, changed(sealed)),
      'sound-mac': example('mac0', { recipients }, encode(new Tag(17, mac0))),
      'changed-mac': example('mac0', { recipients }, changed(encode(new Tag(17, mac0)))),
    };
    const stated = Object.keys(files).map((name) => [
      name,
      { marked_fail: !name.startsWith('sound') },
    ]);
    const root = writeFolder(
      { kind: 'cose-wg-examples', files: Object.fromEntries(stated) },
      files,
    );
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches).toEqual([]);
    expect(report.kinds[0]!.total).toBe(9);
  });
});

describe('the judge of Wycheproof, on self-made suites', () => {
  it('sees refusals, wrong results and what nobody can judge', async () => {
    const key = crypto.randomBytes(32);
    const iv = crypto.randomBytes(12);
    const sealed = crypto.aesGcmSeal(key, iv, utf8('msg'), utf8('aad'));
    const test = {
      key: toHex(key),
      iv: toHex(iv),
      aad: toHex(utf8('aad')),
      msg: toHex(utf8('msg')),
      ct: toHex(sealed.slice(0, 3)),
      tag: toHex(sealed.slice(3)),
    };
    const bad = { ...test, aad: '' };
    const aead = { type: 'AeadTest', ivSize: 96, keySize: 256, tagSize: 128 };
    const suite = {
      algorithm: 'AES-GCM',
      testGroups: [
        {
          ...aead,
          tests: [
            { tcId: 1, ...test, result: 'valid' },
            { tcId: 2, ...bad, result: 'invalid' },
            { tcId: 3, ...bad, result: 'valid' },
            { tcId: 4, ...test, result: 'invalid' },
            { tcId: 5, ...test, msg: '00', result: 'acceptable' },
          ],
        },
        { type: 'SomethingNew', tests: [{ tcId: 6, result: 'valid' }] },
      ],
    };
    const files = { 'a.json': { number_of_tests: 6 }, 'b.json': {} };
    const root = writeFolder({ kind: 'wycheproof', files }, { 'a.json': suite });
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches.map((m) => m.case)).toEqual([
      'a.json #3',
      'a.json #4',
      'a.json #5',
      'b.json',
    ]);
    expect(report.notJudged.map((n) => n.case)).toEqual(['a.json #6']);
  });
});
