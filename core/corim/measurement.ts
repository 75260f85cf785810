import { asArray, asBytes, asInteger, asMap, asText, asUint64, readMap } from '../cbor/read.js';
import { type CborKey, type CborMap, type CborValue, Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import {
  type CryptoKey,
  type Digest,
  type Identifier,
  listMax,
  readCryptoKeys,
  readDigests,
  readIdentifier,
  readUuid,
} from './identifiers.js';
import { tagOf, untag } from './tags.js';

/** A `measurement-map` (draft-ietf-rats-corim s.5.1.4.5). */
export interface Measurement {
  /** Which element of the environment; undefined where it has one only. */
  readonly key: Identifier | undefined;
  readonly values: MeasuredValues;
  readonly authorizedBy: readonly CryptoKey[];
}

/** A `measurement-values-map`; at least one member is there. */
export interface MeasuredValues {
  readonly version?: { readonly version: string; readonly scheme: number | string | undefined };
  /** Exactly this SVN, or this and above. */
  readonly svn?: { readonly value: bigint; readonly atLeast: boolean };
  readonly digests?: readonly Digest[];
  /** By the names of the draft (`is-debug`). */
  readonly flags?: ReadonlyMap<string, boolean>;
  /** The mask is as long as the value; a bit that it has not is not looked at. */
  readonly rawValue?: { readonly value: Uint8Array; readonly mask: Uint8Array | undefined };
  readonly macAddress?: Uint8Array;
  readonly ipAddress?: Uint8Array;
  readonly serialNumber?: string;
  readonly ueid?: Uint8Array;
  readonly uuid?: string;
  readonly name?: string;
  readonly cryptoKeys?: readonly CryptoKey[];
  readonly integrityRegisters?: ReadonlyMap<CborKey, readonly Digest[]>;
  /** Undefined: no bound. */
  readonly intRange?: { readonly min: number | undefined; readonly max: number | undefined };
  /** Members of a profile, as they are. */
  readonly extensions: CborMap;
}

const flagNames: readonly string[] = [
  'is-configured',
  'is-secure',
  'is-recovery',
  'is-debug',
  'is-replay-protected',
  'is-integrity-protected',
  'is-runtime-meas',
  'is-immutable',
  'is-tcb',
  'is-confidentiality-protected',
  'is-runtime-updatable',
];

const textRule = { max: 4096 };

/** @throws CvmpError MALFORMED, SIZE */
export function readMeasurement(value: CborValue, field: string): Measurement {
  return readMap(value, field, (m) => ({
    key: m.optional(0, () =>
      readIdentifier(m.value(0, 'mkey'), m.path('mkey'), [
        'oid',
        'uuid',
        'uint',
        'text',
        'psa-refval-id',
      ]),
    ),
    values: readValues(m.value(1, 'mval'), m.path('mval')),
    authorizedBy:
      m.optional(2, () => readCryptoKeys(m.value(2, 'authorized-by'), m.path('authorized-by'))) ??
      [],
  }));
}

/** @param min how many there must be */
export function readMeasurements(
  value: CborValue | undefined,
  field: string,
  min = 1,
): readonly Measurement[] {
  return asArray(value, field, { min, max: listMax }).map((item, i) =>
    readMeasurement(item, `${field}[${i}]`),
  );
}

type Reader = (value: CborValue, field: string) => Partial<MeasuredValues>;

/** What each member is read by. The raw value and its former mask are read together. */
const members: readonly (readonly [key: number, name: string, read: Reader])[] = [
  [0, 'version', (v, f) => ({ version: readVersion(v, f) })],
  [1, 'svn', (v, f) => ({ svn: readSvn(v, f) })],
  [2, 'digests', (v, f) => ({ digests: readDigests(v, f) })],
  [3, 'flags', (v, f) => ({ flags: readFlags(v, f) })],
  [6, 'mac-addr', (v, f) => ({ macAddress: asBytes(v, f, { min: 6, max: 8 }) })],
  [7, 'ip-addr', (v, f) => ({ ipAddress: readIpAddress(v, f) })],
  [8, 'serial-number', (v, f) => ({ serialNumber: asText(v, f, textRule) })],
  [9, 'ueid', (v, f) => ({ ueid: readUeid(v, f) })],
  [10, 'uuid', (v, f) => ({ uuid: readUuid(v instanceof Tag ? untag(v, tagOf.uuid, f) : v, f) })],
  [11, 'name', (v, f) => ({ name: asText(v, f, textRule) })],
  [13, 'cryptokeys', (v, f) => ({ cryptoKeys: readCryptoKeys(v, f) })],
  [14, 'integrity-registers', (v, f) => ({ integrityRegisters: readRegisters(v, f) })],
  [15, 'int-range', (v, f) => ({ intRange: readIntRange(v, f) })],
];

function readValues(value: CborValue, field: string): MeasuredValues {
  if (asMap(value, field).size === 0) {
    throw new CvmpError('MALFORMED', `${field} is empty`, { field });
  }
  return readMap(value, field, (m) => {
    const found: Partial<MeasuredValues>[] = members.map(([key, name, read]) =>
      m.has(key) ? read(m.value(key, name), m.path(name)) : {},
    );
    const mask = m.optional(5, () => m.bytes(5, 'raw-value-mask', { max: 4096 }));
    if (mask !== undefined || m.has(4)) {
      found.push({ rawValue: readRawValue(m.value(4, 'raw-value'), mask, m.path('raw-value')) });
    }
    return { ...Object.assign({}, ...found), extensions: m.extensions() };
  });
}

function readVersion(value: CborValue, field: string): NonNullable<MeasuredValues['version']> {
  return readMap(value, field, (m) => ({
    version: m.text(0, 'version', textRule),
    scheme: m.optional(1, () => {
      const scheme = m.value(1, 'version-scheme');
      const path = m.path('version-scheme');
      return typeof scheme === 'string'
        ? asText(scheme, path, textRule)
        : asInteger(scheme, path, { min: -0x8000_0000 });
    }),
  }));
}

/** A bare number is an exact SVN, as under tag 552. */
function readSvn(value: CborValue, field: string): NonNullable<MeasuredValues['svn']> {
  if (!(value instanceof Tag)) return { value: asUint64(value, field), atLeast: false };
  const atLeast = value.tag === tagOf.svnMin;
  const inner = atLeast ? value.value : untag(value, tagOf.svn, field);
  return { value: asUint64(inner, field), atLeast };
}

/** A number is the flag's place in the table; a profile may add others. */
function readFlags(value: CborValue, field: string): ReadonlyMap<string, boolean> {
  const flags = new Map<string, boolean>();
  for (const [key, flag] of asMap(value, field)) {
    const name = (typeof key === 'number' ? flagNames[key] : undefined) ?? String(key);
    if (typeof flag !== 'boolean') {
      const what = `${field}.${name} is not a boolean`;
      throw new CvmpError('MALFORMED', what, { field: `${field}.${name}` });
    }
    flags.set(name, flag);
  }
  if (flags.size === 0) throw new CvmpError('MALFORMED', `${field} is empty`, { field });
  return flags;
}

function readRawValue(
  value: CborValue,
  formerMask: Uint8Array | undefined,
  field: string,
): NonNullable<MeasuredValues['rawValue']> {
  let raw: Uint8Array;
  let mask = formerMask;
  if (value instanceof Tag && value.tag === tagOf.maskedRawValue && mask === undefined) {
    const parts = asArray(value.value, field, { length: 2 });
    raw = asBytes(parts[0], `${field}.value`, { max: 4096 });
    mask = asBytes(parts[1], `${field}.mask`, { max: 4096 });
  } else {
    raw = asBytes(untag(value, tagOf.bytes, field), field, { max: 4096 });
  }
  if (mask !== undefined && mask.length !== raw.length) {
    throw new CvmpError('SIZE', `${field} has a mask of another length`, { field });
  }
  return { value: raw, mask };
}

function readIpAddress(value: CborValue, field: string): Uint8Array {
  const inner = value instanceof Tag ? value.value : value;
  const bytes = asBytes(inner, field);
  if (bytes.length === 4 || bytes.length === 16) return bytes;
  throw new CvmpError('SIZE', `${field} has ${bytes.length} bytes, not 4 or 16`, { field });
}

function readUeid(value: CborValue, field: string): Uint8Array {
  const inner = value instanceof Tag ? untag(value, tagOf.ueid, field) : value;
  return asBytes(inner, field, { min: 7, max: 33 });
}

function readRegisters(value: CborValue, field: string): ReadonlyMap<CborKey, readonly Digest[]> {
  const map = asMap(value, field);
  if (map.size === 0) throw new CvmpError('MALFORMED', `${field} is empty`, { field });
  return new Map(
    [...map].map(([register, digests]) => {
      const path = `${field}[${register}]`;
      if (typeof register === 'bigint' || (typeof register === 'number' && register < 0)) {
        throw new CvmpError('MALFORMED', `${path} names no register`, { field: path });
      }
      return [register, readDigests(digests, path)];
    }),
  );
}

const anyInteger = { min: Number.MIN_SAFE_INTEGER };

function readIntRange(value: CborValue, field: string): NonNullable<MeasuredValues['intRange']> {
  if (!(value instanceof Tag)) {
    const exact = asInteger(value, field, anyInteger);
    return { min: exact, max: exact };
  }
  const parts = asArray(untag(value, tagOf.intRange, field), field, { length: 2 });
  const bound = (part: CborValue | undefined, name: string) =>
    part === null ? undefined : asInteger(part, `${field}.${name}`, anyInteger);
  const [min, max] = [bound(parts[0], 'min'), bound(parts[1], 'max')];
  if (min !== undefined && max !== undefined && min > max) {
    throw new CvmpError('MALFORMED', `${field} ends before it begins`, { field });
  }
  return { min, max };
}
