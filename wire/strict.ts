import type { DescField, DescMessage, MessageShape } from '@bufbuild/protobuf';
import { fromBinary, ScalarType } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';

// Protobuf's own rule is lenient: unknown fields are skipped, the last of two values wins, a value
// of another wire type is read as it falls. For requests that decide about keys that means that two
// readers may see two contents, and that a restriction which this version does not know is dropped
// in silence. What one of our programs is asked or signed to do is therefore read as a whole or not
// at all. Answers of servers are read leniently, so that they can grow.

const depthMax = 16;

interface FieldRule {
  readonly field: DescField;
  readonly wire: WireType;
  readonly packable: boolean;
}

const rulesOf = new WeakMap<DescMessage, Map<number, FieldRule>>();

/**
 * Parses a message in which every field is known, of its own wire type, in the range of its type,
 * and (unless repeated) present once.
 * @param path names the message in errors; empty for the request itself
 * @throws CvmpError INVALID_FIELD naming the field; MALFORMED where the bytes are no message at all
 */
export function decodeStrict<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  path = '',
): MessageShape<D> {
  scan(schema, bytes, path, 0);
  return fromBinary(schema, bytes);
}

function scan(schema: DescMessage, bytes: Uint8Array, path: string, depth: number): void {
  if (depth > depthMax) throw invalid(path, 'is nested too deep');
  const reader = new BinaryReader(bytes);
  const rules = fieldRules(schema);
  const seen = new Map<string | number, number>();
  while (reader.pos < reader.len) {
    const [number, wire] = wellFormed(path, schema, () => reader.tag());
    const rule = rules.get(number);
    if (rule === undefined) throw invalid(join(path, `#${number}`), 'is not known here');
    const name = pathOf(path, rule.field, seen);
    wellFormed(name, schema, () => value(reader, rule, wire, name, depth, seen));
  }
}

/** The path of this occurrence. A field that does not repeat, and a oneof as a whole, may come once. */
function pathOf(path: string, field: DescField, seen: Map<string | number, number>): string {
  const name = join(path, field.name);
  const before = seen.get(field.number) ?? 0;
  seen.set(field.number, before + 1);
  if (field.fieldKind === 'map') return name;
  if (field.fieldKind === 'list') return field.message === undefined ? name : `${name}[${before}]`;
  if (before > 0) throw invalid(name, 'comes twice');
  if (field.oneof !== undefined) {
    const group = `oneof ${field.oneof.name}`;
    if (seen.has(group)) throw invalid(name, `comes beside another of ${field.oneof.name}`);
    seen.set(group, 1);
  }
  return name;
}

function value(
  reader: BinaryReader,
  rule: FieldRule,
  wire: WireType,
  name: string,
  depth: number,
  seen: Map<string | number, number>,
): void {
  const { field } = rule;
  if (rule.packable && wire === WireType.LengthDelimited) {
    const packed = new BinaryReader(reader.bytes());
    while (packed.pos < packed.len) scalar(packed, field, name);
  } else if (wire !== rule.wire) {
    throw invalid(name, 'is of another type');
  } else if (field.fieldKind === 'map') {
    const entry = reader.bytes();
    const key = mapEntry(entry, field, name, depth);
    const item = `${name}["${key}"]`;
    if (seen.has(item)) throw invalid(item, 'comes twice');
    seen.set(item, 1);
  } else if (field.message !== undefined) {
    const content = reader.bytes();
    if (content.length > 0) scan(field.message, content, name, depth + 1);
  } else {
    scalar(reader, field, name);
  }
}

/** Reads one scalar and holds it to the range of its type, which the parser would cut it to. */
function scalar(reader: BinaryReader, field: DescField, name: string): void {
  const type = field.scalar ?? ScalarType.INT32;
  switch (type) {
    case ScalarType.STRING:
      text(reader.bytes(), name);
      break;
    case ScalarType.BYTES:
      reader.bytes();
      break;
    case ScalarType.BOOL:
      if (BigInt(reader.uint64()) > 1n) throw invalid(name, 'is not a boolean');
      break;
    case ScalarType.UINT32:
      if (BigInt(reader.uint64()) > 0xffff_ffffn) throw invalid(name, 'is beyond 32 bits');
      break;
    case ScalarType.INT32: {
      const number = BigInt(reader.int64());
      if (number !== BigInt.asIntN(32, number)) throw invalid(name, 'is beyond 32 bits');
      break;
    }
    default:
      reader.skip(wireTypeOf(type));
  }
}

function text(bytes: Uint8Array, name: string): void {
  try {
    fromUtf8(bytes);
  } catch (cause) {
    throw invalid(name, 'is not UTF-8', cause);
  }
}

/** A map entry is a message of fields 1 and 2. Gives the key as text. */
function mapEntry(
  bytes: Uint8Array,
  field: DescField & { fieldKind: 'map' },
  name: string,
  depth: number,
): string {
  const reader = new BinaryReader(bytes);
  const seen = new Set<number>();
  // A key that is its type's zero may be left out.
  let key = field.mapKey === ScalarType.STRING ? '' : '0';
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    if (number > 2 || seen.has(number)) throw invalid(name, 'has a malformed entry');
    seen.add(number);
    const type = number === 1 ? field.mapKey : field.scalar;
    const expected = type === undefined ? WireType.LengthDelimited : wireTypeOf(type);
    const isEnum = number === 2 && field.enum !== undefined;
    if (wire !== (isEnum ? WireType.Varint : expected)) throw invalid(name, 'is of another type');
    const from = reader.pos;
    reader.skip(wire, number);
    if (type === ScalarType.STRING) {
      const sub = new BinaryReader(bytes.subarray(from, reader.pos));
      const content = sub.bytes();
      text(content, name);
      if (number === 1) key = fromUtf8(content);
    } else if (number === 1) {
      const sub = new BinaryReader(bytes.subarray(from, reader.pos));
      key = String(sub.uint64());
      if (field.mapKey === ScalarType.UINT32 && BigInt(key) > 0xffff_ffffn) {
        throw invalid(name, 'has a key beyond 32 bits');
      }
    } else if (field.message !== undefined) {
      scan(field.message, new BinaryReader(bytes.subarray(from)).bytes(), name, depth + 1);
    }
  }
  return key;
}

function fieldRules(schema: DescMessage): Map<number, FieldRule> {
  let rules = rulesOf.get(schema);
  if (rules === undefined) {
    rules = new Map(schema.fields.map((field) => [field.number, fieldRule(field)]));
    rulesOf.set(schema, rules);
  }
  return rules;
}

function fieldRule(field: DescField): FieldRule {
  if (field.fieldKind === 'map' || field.message !== undefined) {
    return { field, wire: WireType.LengthDelimited, packable: false };
  }
  const wire = wireTypeOf(field.scalar ?? ScalarType.INT32);
  const packable = field.fieldKind === 'list' && wire !== WireType.LengthDelimited;
  return { field, wire, packable };
}

function wireTypeOf(type: ScalarType): WireType {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

/** The reader's own errors (truncated, overlong) become ours. */
function wellFormed<T>(name: string, schema: DescMessage, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    if (name !== '') throw invalid(name, 'is truncated or malformed', cause);
    throw new CvmpError('MALFORMED', `not a ${schema.name} in Protobuf encoding`, { cause });
  }
}

function invalid(field: string, what: string, cause?: unknown): CvmpError {
  return new CvmpError('INVALID_FIELD', `${field} ${what}`, { field, cause });
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
