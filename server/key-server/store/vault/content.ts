import { equalBytes } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asInteger, asText, readMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { VaultContent, WrappedKek } from './vault.js';

const digestLength = 32;
const keksMax = 1_000_000;

/** Deterministic CBOR and its SHA-256, so that damage is told from a wrong master key. */
export function encodeContent(id: Uint8Array, content: VaultContent): Uint8Array {
  const { master, backedUp } = content;
  const keks = [...content.keks].sort(byNameAndVersion);
  const body = encode(
    new Map<number, CborValue>([
      [1, 1],
      [2, id],
      [3, master],
      [4, keks.map(({ name, version, wrapped }) => [name, version, wrapped])],
      [5, backedUp],
    ]),
  );
  const out = new Uint8Array(body.length + digestLength);
  out.set(body);
  out.set(crypto.hash('sha256', body), body.length);
  return out;
}

/** @throws CvmpError STORE_CORRUPT */
export function decodeContent(
  bytes: Uint8Array,
  path: string,
): VaultContent & { readonly id: Uint8Array } {
  const body = bytes.subarray(0, Math.max(0, bytes.length - digestLength));
  if (!equalBytes(crypto.hash('sha256', body), bytes.subarray(body.length))) {
    throw new CvmpError('STORE_CORRUPT', `the file ${path} of the vault is damaged`);
  }
  return readMap(decode(body), 'vault', (m) => {
    m.integer(1, 'format', { min: 1, max: 1 });
    return {
      id: m.bytes(2, 'store_id', { length: 16 }).slice(),
      master: m.bytes(3, 'master', { max: 4096 }).slice(),
      keks: asArray(m.value(4, 'keks'), 'vault.keks', { max: keksMax }).map(decodeKek),
      backedUp: m.integer(5, 'backed_up'),
    };
  });
}

function decodeKek(value: CborValue): WrappedKek {
  const [name, version, wrapped] = asArray(value, 'vault.keks', { length: 3 });
  return {
    name: asText(name, 'vault.keks.name', { min: 1, max: 256 }),
    version: asInteger(version, 'vault.keks.version', { min: 1, max: 0xffff }),
    wrapped: asBytes(wrapped, 'vault.keks.wrapped', { max: 1024 }).slice(),
  };
}

function byNameAndVersion(a: WrappedKek, b: WrappedKek): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.version - b.version;
}
