import { describe, expect, test } from 'vitest';
import { checkLuksHeader, luksToken } from '#agent/disk/luks-header.js';
import { fromHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { refusalOf } from '../../refusal.js';

// biome-ignore lint/suspicious/noExplicitAny: rows of the tables below reach into the JSON
type Json = any;

const salt = (n: number) => Buffer.alloc(32, n).toString('base64');

function keyslot(index: number): Json {
  return {
    type: 'luks2',
    key_size: 64,
    af: { type: 'luks1', stripes: 4000, hash: 'sha256' },
    area: {
      type: 'raw',
      offset: `${32_768 + 258_048 * index}`,
      size: '258048',
      encryption: 'aes-xts-plain64',
      key_size: 64,
    },
    kdf: { type: 'pbkdf2', hash: 'sha256', iterations: 1000, salt: salt(index) },
  };
}

/** As cryptsetup prints a header of the agent in the middle of a re-key. */
function header(): Json {
  return {
    keyslots: { '0': keyslot(0), '1': keyslot(1) },
    tokens: {
      '0': JSON.parse(luksToken(0, { keyId: fromHex('00'.repeat(16)), svn: 1, epoch: 1 })),
      '1': JSON.parse(luksToken(1, { keyId: fromHex('00'.repeat(16)), svn: 2, epoch: 1 })),
    },
    segments: {
      '0': {
        type: 'crypt',
        offset: '2097152',
        size: 'dynamic',
        iv_tweak: '0',
        encryption: 'aes-xts-plain64',
        sector_size: 512,
      },
    },
    digests: {
      '0': {
        type: 'pbkdf2',
        keyslots: ['0', '1'],
        segments: ['0'],
        hash: 'sha256',
        iterations: 1000,
        salt: salt(2),
        digest: salt(3),
      },
    },
    config: { json_size: '12288', keyslots_size: '2064384' },
  };
}

function fieldOf(json: Json): string {
  try {
    checkLuksHeader(JSON.stringify(json));
  } catch (error) {
    if (error instanceof CvmpError && error.code === 'HEADER_REFUSED') return error.field ?? '';
    throw error;
  }
  return 'accepted';
}

/** Every object of the header with its path. */
function* objects(value: Json, path: readonly string[] = []): Generator<readonly string[]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield path;
  for (const [name, item] of Object.entries(value)) yield* objects(item, [...path, name]);
}

const at = (json: Json, path: readonly string[]): Json =>
  path.reduce((value, name) => value[name], json);

/** What a member could also be, and still be well-formed JSON of its kind. */
function otherValues(value: Json): Json[] {
  if (typeof value === 'number') return [value + 1, 0, -1, value + 0.5, `${value}`];
  if (typeof value === 'string') return [`${value}x`, '', `${value} `, 0, null];
  return [null, 0, 'x', [], {}];
}

// Salts and digests of other content are as good as these; tokens may name any key.
const free = /salt$|digests\.0\.digest$|key_id$|svn$|epoch$/;

const paths = [...objects(header())];
const memberPaths = paths.flatMap((path) =>
  Object.keys(at(header(), path)).map((name) => [...path, name]),
);

describe('LUKS2 header allow list (CVE-2025-59054)', () => {
  test('what the agent formats is admitted, its slots newest SVN first', () => {
    expect(checkLuksHeader(JSON.stringify(header()))).toEqual([
      { id: 1, tokenId: 1, token: { keyId: new Uint8Array(16), svn: 2, epoch: 1 } },
      { id: 0, tokenId: 0, token: { keyId: new Uint8Array(16), svn: 1, epoch: 1 } },
    ]);
  });

  test.each(paths.map((p) => [p.join('.') || 'header', p] as const))(
    'a member more in %s is refused',
    (_, path) => {
      const json = header();
      at(json, path).flags = ['allow-discards'];
      expect(fieldOf(json)).not.toBe('accepted');
    },
  );

  test.each(memberPaths.map((p) => [p.join('.'), p] as const))(
    '%s missing or other is refused',
    (name, path) => {
      const [parent, last] = [path.slice(0, -1), path.at(-1)!];
      const without = header();
      delete at(without, parent)[last];
      expect(fieldOf(without)).not.toBe('accepted');
      for (const other of otherValues(at(header(), path))) {
        const json = header();
        at(json, parent)[last] = other;
        const admitted = free.test(name) && typeof other === typeof at(header(), path);
        if (!admitted) expect([other, fieldOf(json)]).not.toEqual([other, 'accepted']);
      }
    },
  );

  test.each<[string, string, (json: Json) => void]>([
    [
      'a null cipher for the data',
      'segments.0.encryption',
      (j) => {
        j.segments[0].encryption = 'cipher_null-ecb';
      },
    ],
    [
      'a null cipher for a key slot',
      'keyslots.0.area.encryption',
      (j) => {
        j.keyslots[0].area.encryption = 'cipher_null-ecb';
      },
    ],
    [
      'another mode',
      'segments.0.encryption',
      (j) => {
        j.segments[0].encryption = 'aes-ecb';
      },
    ],
    [
      'a plain segment before the data',
      'segments',
      (j) => {
        j.segments[1] = { type: 'linear', offset: '0', size: 'dynamic' };
      },
    ],
    [
      'a linear segment in its place',
      'segments.0.iv_tweak',
      (j) => {
        j.segments[0] = { type: 'linear', offset: '2097152', size: 'dynamic' };
      },
    ],
    [
      'data that begins in the header',
      'segments.0.offset',
      (j) => {
        j.segments[0].offset = '0';
      },
    ],
    [
      'a re-encryption that is announced',
      'config.requirements',
      (j) => {
        j.config.requirements = { mandatory: ['online-reencrypt-v2'] };
      },
    ],
    [
      'a re-encryption key slot',
      'keyslots.0.mode',
      (j) => {
        Object.assign(j.keyslots[0], { type: 'reencrypt', mode: 'decrypt', direction: 'forward' });
      },
    ],
    [
      'a slot of somebody else',
      'tokens',
      (j) => {
        j.keyslots[2] = keyslot(2);
        j.digests[0].keyslots.push('2');
      },
    ],
    [
      'a slot with another volume key',
      'digests',
      (j) => {
        j.digests[1] = { ...j.digests[0], keyslots: ['1'] };
        j.digests[0].keyslots = ['0'];
      },
    ],
    [
      'a slot that no digest knows',
      'digests.0.keyslots',
      (j) => {
        j.digests[0].keyslots = ['0'];
      },
    ],
    [
      'a token of somebody else',
      'tokens',
      (j) => {
        j.tokens[2] = { type: 'clevis', keyslots: [], jwe: {} };
      },
    ],
    [
      'two tokens for one slot',
      'tokens',
      (j) => {
        j.tokens[1].keyslots = ['0'];
      },
    ],
    [
      'slots that share an area',
      'keyslots.1.area.offset',
      (j) => {
        j.keyslots[1].area.offset = j.keyslots[0].area.offset;
      },
    ],
    [
      'slots that overlap',
      'keyslots.1.area.offset',
      (j) => {
        j.keyslots[1].area.offset = `${32_768 + 4096}`;
      },
    ],
    [
      'an area beyond the header',
      'keyslots.1.area.offset',
      (j) => {
        j.keyslots[1].area.offset = `${32_768 + 258_048 * 8}`;
      },
    ],
    [
      'a derivation that costs memory',
      'keyslots.0.kdf.time',
      (j) => {
        j.keyslots[0].kdf = { type: 'argon2id', time: 4, memory: 1 << 30, cpus: 4, salt: salt(0) };
      },
    ],
    [
      'a derivation that never ends',
      'keyslots.0.kdf.iterations',
      (j) => {
        j.keyslots[0].kdf.iterations = 4_294_967_295;
      },
    ],
    [
      'a slot that is tried first',
      'keyslots.0.priority',
      (j) => {
        j.keyslots[0].priority = 2;
      },
    ],
    [
      'integrity that was never formatted',
      'segments.0.integrity',
      (j) => {
        j.segments[0].integrity = { type: 'none', journal_encryption: 'none' };
      },
    ],
    [
      'a prototype in place of a member',
      'config.__proto__',
      (j) => {
        j.config = JSON.parse('{"__proto__":1,"json_size":"12288","keyslots_size":"2064384"}');
      },
    ],
    [
      'five slots',
      'keyslots',
      (j) => {
        for (const n of [2, 3, 4]) j.keyslots[n] = keyslot(n);
      },
    ],
    [
      'no slot',
      'keyslots',
      (j) => {
        j.keyslots = {};
      },
    ],
  ])('%s is refused', (_, field, tamper) => {
    const json = header();
    tamper(json);
    expect(fieldOf(json)).toBe(field);
  });

  test.each(['', '{', 'null', '[]', '"LUKS"'])('%j is not a header', async (json) => {
    expect(await refusalOf(() => checkLuksHeader(json))).toBe('HEADER_REFUSED');
  });
});
