import { equalBytes } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asInteger, asText, decodeMap } from '#core/cbor/read.js';
import type { CborKey, CborValue } from '#core/cbor/value.js';
import { label } from '#core/cose/headers.js';
import { ecPublicKey } from '#core/cose/key.js';
import { parseSign1, sign1, verifySign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import type { Entry } from '../store/store.js';

// A backup is a folder: files of records, as the store holds them (sealed), and a manifest that the
// Key Server signs. A record in a file: length of the key (2 bytes), of the value (4), version (6),
// key, value; numbers big-endian.

export const manifestName = 'manifest.cose';
export const recordsName = (n: number) => `records-${String(n).padStart(6, '0')}`;
const headLength = 12;
const filesMax = 1_000_000;

export interface BackupFile {
  readonly name: string;
  readonly bytes: number;
  /** SHA-256. */
  readonly digest: Uint8Array;
}

export interface BackupManifest {
  /** 16 bytes. */
  readonly storeId: Uint8Array;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Newest checkpoint when it was begun (COSE_Sign1); the backup holds at least its records. */
  readonly checkpoint: Uint8Array;
  /** Records of the store in all files. */
  readonly records: number;
  readonly files: readonly BackupFile[];
}

const manifestType = 'application/cvmp-backup+cbor';
const headers: ReadonlyMap<CborKey, CborValue> = new Map([[label.typ, manifestType]]);

/** Tagged COSE_Sign1 by the Key Server's identity key. */
export function signManifest(
  identity: EcPrivateKey,
  manifest: BackupManifest,
): Promise<Uint8Array> {
  const { storeId, time, checkpoint, records, files } = manifest;
  const payload = encode(
    new Map<number, CborValue>([
      [1, 1],
      [2, storeId],
      [3, time],
      [4, checkpoint],
      [5, records],
      [6, files.map(({ name, bytes, digest }) => [name, bytes, digest])],
    ]),
  );
  return sign1(identity, payload, { protected: headers });
}

/**
 * Reads a manifest; whose it is says {@link verifyManifest}, once the identity key is known.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function parseManifest(signed: Uint8Array): BackupManifest {
  const { payload } = parseSign1(signed, { typ: manifestType });
  if (payload === null) throw new CvmpError('MALFORMED', 'the manifest has no payload');
  return decodeMap(payload, 'manifest', (m) => {
    m.integer(1, 'format', { min: 1, max: 1 });
    return {
      storeId: m.bytes(2, 'store_id', { length: 16 }),
      time: m.integer(3, 'time'),
      checkpoint: m.bytes(4, 'checkpoint'),
      records: m.integer(5, 'records'),
      files: asArray(m.value(6, 'files'), 'manifest.files', { max: filesMax }).map(readFile),
    };
  });
}

/** @throws CvmpError SIGNATURE_INVALID */
export async function verifyManifest(signed: Uint8Array, identity: EcPrivateKey): Promise<void> {
  const key = ecPublicKey(identity.curve, identity.publicPoint);
  await verifySign1(parseSign1(signed, { typ: manifestType }), key);
}

function readFile(item: CborValue, i: number): BackupFile {
  const [name, bytes, digest] = asArray(item, 'manifest.files', { length: 3 });
  if (asText(name, 'manifest.files') !== recordsName(i + 1)) {
    throw new CvmpError('MALFORMED', 'the manifest names a file that no backup has');
  }
  return {
    name: recordsName(i + 1),
    bytes: asInteger(bytes, 'manifest.files.bytes'),
    digest: asBytes(digest, 'manifest.files.digest', { length: 32 }),
  };
}

export function encodeRecord({ key, value, version }: Entry): Buffer {
  const name = Buffer.from(key, 'latin1');
  const bytes = Buffer.alloc(headLength + name.length + value.length);
  bytes.writeUInt16BE(name.length, 0);
  bytes.writeUInt32BE(value.length, 2);
  bytes.writeUIntBE(version, 6, 6);
  bytes.set(name, headLength);
  bytes.set(value, headLength + name.length);
  return bytes;
}

/** @throws CvmpError MALFORMED */
export function decodeRecords(bytes: Buffer): readonly Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + headLength > bytes.length) throw cutOff();
    const keyEnd = at + headLength + bytes.readUInt16BE(at);
    const end = keyEnd + bytes.readUInt32BE(at + 2);
    if (end > bytes.length) throw cutOff();
    entries.push({
      key: bytes.toString('latin1', at + headLength, keyEnd),
      value: bytes.subarray(keyEnd, end),
      version: bytes.readUIntBE(at + 6, 6),
    });
    at = end;
  }
  return entries;
}

/** @throws CvmpError STORE_CORRUPT */
export function mustBeFile(file: BackupFile, length: number, digest: Uint8Array): void {
  if (length === file.bytes && equalBytes(digest, file.digest)) return;
  throw new CvmpError('STORE_CORRUPT', `${file.name} of the backup is not what the manifest says`);
}

function cutOff(): CvmpError {
  return new CvmpError('MALFORMED', 'a file of the backup ends within a record');
}
