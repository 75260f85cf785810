import { fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type DiskSlot, type DiskToken, newestFirst, slotsMax } from './disk.js';

/**
 * What the agent formats, and the only thing that it opens. A LUKS2 header is malleable: who can
 * write the disk can name a null cipher, add slots, start a re-encryption (CVE-2025-59054,
 * CVE-2025-58356). So every member of the header's JSON has one admitted form, and a member that
 * is not listed is refused (LUKS2 On-Disk Format Specification 1.1.3, s.3).
 */
export const luksFormat = {
  cipher: 'aes-xts-plain64',
  keyBits: 512,
  hash: 'sha256',
  /** Enough for uniform keys of 16 bytes or more: there is nothing to guess. */
  iterations: 1000,
  /** Each of the two copies of binary header and JSON. */
  metadataBytes: 16 * 1024,
  /** Room for eight slots; with both metadata copies exactly 2 MiB. */
  keyslotsBytes: 2 * 1024 * 1024 - 2 * 16 * 1024,
  /** Where the encrypted data begins. */
  headerBytes: 2 * 1024 * 1024,
  sectorBytes: 512,
  tokenType: 'cvmp',
} as const;

const areaBytes = 258_048;
const binaryHeaderBytes = 4096;

/** One slot of a checked header with the id of the token that names its Security Key. */
export interface LuksSlot extends DiskSlot {
  readonly tokenId: number;
}

/**
 * Checks the JSON of a LUKS2 header, as cryptsetup prints what it has read.
 * @returns its slots, newest SVN first
 * @throws CvmpError HEADER_REFUSED naming the member
 */
export function checkLuksHeader(json: string): readonly LuksSlot[] {
  const root = members(parseJson(json), 'header', [
    'keyslots',
    'tokens',
    'segments',
    'digests',
    'config',
  ]);
  const keyslots = numbered(root('keyslots'), 'keyslots', 1, slotsMax);
  for (const [id, value] of keyslots) checkKeyslot(value, `keyslots.${id}`);
  checkAreas(keyslots);
  checkSegment(root('segments'));
  checkDigest(root('digests'), [...keyslots.keys()]);
  checkConfig(root('config'));
  return checkTokens(root('tokens'), [...keyslots.keys()]);
}

/** The token of a slot, in the form that cryptsetup imports. */
export function luksToken(slotId: number, { keyId, svn, epoch }: DiskToken): string {
  const { tokenType } = luksFormat;
  return JSON.stringify({
    type: tokenType,
    keyslots: [`${slotId}`],
    key_id: toHex(keyId),
    svn,
    epoch,
  });
}

function checkKeyslot(value: unknown, path: string): void {
  const slot = members(value, path, ['type', 'key_size', 'af', 'area', 'kdf']);
  equal(slot('type'), 'luks2', `${path}.type`);
  equal(slot('key_size'), luksFormat.keyBits / 8, `${path}.key_size`);
  const af = members(slot('af'), `${path}.af`, ['type', 'stripes', 'hash']);
  equal(af('type'), 'luks1', `${path}.af.type`);
  equal(af('stripes'), 4000, `${path}.af.stripes`);
  equal(af('hash'), luksFormat.hash, `${path}.af.hash`);
  const area = members(slot('area'), `${path}.area`, [
    'type',
    'offset',
    'size',
    'encryption',
    'key_size',
  ]);
  equal(area('type'), 'raw', `${path}.area.type`);
  equal(area('size'), `${areaBytes}`, `${path}.area.size`);
  equal(area('encryption'), luksFormat.cipher, `${path}.area.encryption`);
  equal(area('key_size'), luksFormat.keyBits / 8, `${path}.area.key_size`);
  const kdf = members(slot('kdf'), `${path}.kdf`, ['type', 'hash', 'iterations', 'salt']);
  equal(kdf('type'), 'pbkdf2', `${path}.kdf.type`);
  equal(kdf('hash'), luksFormat.hash, `${path}.kdf.hash`);
  equal(kdf('iterations'), luksFormat.iterations, `${path}.kdf.iterations`);
  base64Of32(kdf('salt'), `${path}.kdf.salt`);
}

/** Areas lie inside the key slot area and do not overlap. */
function checkAreas(keyslots: ReadonlyMap<number, unknown>): void {
  const seen = new Set<number>();
  for (const [id, value] of keyslots) {
    const path = `keyslots.${id}.area.offset`;
    const { offset } = (value as { area: { offset: unknown } }).area;
    const relative = Number(offset) - 2 * luksFormat.metadataBytes;
    const index = relative / areaBytes;
    const inside = index >= 0 && relative + areaBytes <= luksFormat.keyslotsBytes;
    if (!inside || !Number.isInteger(index) || `${Number(offset)}` !== offset || seen.has(index)) {
      refuse(path, offset);
    }
    seen.add(index);
  }
}

function checkSegment(value: unknown): void {
  const [entry] = numbered(value, 'segments', 1, 1);
  equal(entry![0], 0, 'segments');
  const segment = members(entry![1], 'segments.0', [
    'type',
    'offset',
    'size',
    'iv_tweak',
    'encryption',
    'sector_size',
  ]);
  equal(segment('type'), 'crypt', 'segments.0.type');
  equal(segment('offset'), `${luksFormat.headerBytes}`, 'segments.0.offset');
  equal(segment('size'), 'dynamic', 'segments.0.size');
  equal(segment('iv_tweak'), '0', 'segments.0.iv_tweak');
  equal(segment('encryption'), luksFormat.cipher, 'segments.0.encryption');
  equal(segment('sector_size'), luksFormat.sectorBytes, 'segments.0.sector_size');
}

/** The digest tells a right volume key from a wrong one; every slot must hold that volume key. */
function checkDigest(value: unknown, keyslots: readonly number[]): void {
  const [entry] = numbered(value, 'digests', 1, 1);
  equal(entry![0], 0, 'digests');
  const digest = members(entry![1], 'digests.0', [
    'type',
    'keyslots',
    'segments',
    'hash',
    'iterations',
    'salt',
    'digest',
  ]);
  equal(digest('type'), 'pbkdf2', 'digests.0.type');
  equal(digest('hash'), luksFormat.hash, 'digests.0.hash');
  equal(digest('iterations'), luksFormat.iterations, 'digests.0.iterations');
  base64Of32(digest('salt'), 'digests.0.salt');
  base64Of32(digest('digest'), 'digests.0.digest');
  sameIds(digest('segments'), [0], 'digests.0.segments');
  sameIds(digest('keyslots'), keyslots, 'digests.0.keyslots');
}

/** No flags, and no requirements: those announce a re-encryption. */
function checkConfig(value: unknown): void {
  const config = members(value, 'config', ['json_size', 'keyslots_size']);
  const jsonBytes = luksFormat.metadataBytes - binaryHeaderBytes;
  equal(config('json_size'), `${jsonBytes}`, 'config.json_size');
  equal(config('keyslots_size'), `${luksFormat.keyslotsBytes}`, 'config.keyslots_size');
}

/** Exactly one token of ours for each slot, and no other. */
function checkTokens(value: unknown, keyslots: readonly number[]): readonly LuksSlot[] {
  const tokens = numbered(value, 'tokens', keyslots.length, keyslots.length);
  const slots = [...tokens].map(([tokenId, token]) => checkToken(token, tokenId));
  sameIds(
    slots.map((slot) => `${slot.id}`),
    keyslots,
    'tokens',
  );
  return newestFirst(slots) as readonly LuksSlot[];
}

function checkToken(value: unknown, tokenId: number): LuksSlot {
  const path = `tokens.${tokenId}`;
  const token = members(value, path, ['type', 'keyslots', 'key_id', 'svn', 'epoch']);
  equal(token('type'), luksFormat.tokenType, `${path}.type`);
  const keyslots = token('keyslots');
  if (!Array.isArray(keyslots) || keyslots.length !== 1 || !/^[0-9]$/.test(String(keyslots[0]))) {
    return refuse(`${path}.keyslots`, keyslots);
  }
  const keyId = token('key_id');
  if (typeof keyId !== 'string' || !/^[0-9a-f]{32}$/.test(keyId)) {
    return refuse(`${path}.key_id`, keyId);
  }
  return {
    id: Number(keyslots[0]),
    tokenId,
    token: {
      keyId: fromHex(keyId),
      svn: count(token('svn'), `${path}.svn`),
      epoch: count(token('epoch'), `${path}.epoch`),
    },
  };
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return refuse('header', 'text that is not JSON');
  }
}

function refuse(path: string, value: unknown): never {
  const shown = JSON.stringify(value)?.slice(0, 80) ?? 'nothing';
  throw new CvmpError('HEADER_REFUSED', `${path} is ${shown}`, { field: path });
}

/** An object with exactly these members. */
function members(
  value: unknown,
  path: string,
  names: readonly string[],
): (name: string) => unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(path, value);
  const object = value as Record<string, unknown>;
  for (const name of Object.keys(object)) {
    if (!names.includes(name)) refuse(`${path}.${name}`, object[name]);
  }
  for (const name of names) if (!Object.hasOwn(object, name)) refuse(`${path}.${name}`, undefined);
  return (name) => object[name];
}

/** An object whose member names are small numbers, as LUKS2 has them in place of arrays. */
function numbered(value: unknown, path: string, min: number, max: number): Map<number, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(path, value);
  const entries = Object.entries(value as object);
  if (entries.length < min || entries.length > max) refuse(path, `${entries.length} members`);
  return new Map(
    entries.map(([id, item]) => [
      /^[0-9]$/.test(id) ? Number(id) : refuse(`${path}.${id}`, item),
      item,
    ]),
  );
}

function equal(value: unknown, expected: string | number, path: string): void {
  if (value !== expected) refuse(path, value);
}

function count(value: unknown, path: string): number {
  const fits = typeof value === 'number' && Number.isInteger(value);
  return fits && value >= 1 && value <= 0xffff_ffff ? value : refuse(path, value);
}

function base64Of32(value: unknown, path: string): void {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]{43}=$/.test(value)) refuse(path, value);
}

function sameIds(value: unknown, ids: readonly number[], path: string): void {
  const sorted = (list: readonly unknown[]) => list.map(String).sort().join();
  if (!Array.isArray(value) || sorted(value) !== sorted(ids)) refuse(path, value);
}
