import {
  type DescField,
  type DescMessage,
  getOption,
  isFieldSet,
  ScalarType,
} from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  type FieldRules,
  FieldRulesSchema,
  field as fieldOption,
  Ignore,
  type MapRules,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { concat, fromUtf8, utf8 } from '#core/bytes.js';

// Everything that can be wrong with a request, made from its descriptor and the rules in its .proto,
// so that a field that is added tomorrow is covered tomorrow.

/** A request with exactly one fault. */
export interface WrongField {
  /** Path of the faulty field, as an error must name it. */
  readonly field: string;
  /** What is wrong with it. */
  readonly what: string;
  readonly bytes: Uint8Array;
}

type MapField = DescField & { readonly fieldKind: 'map' };

const depthMax = 8;
/** Texts of which one fits every pattern in proto/. */
const samples = ['a', 'a:1', 'aa', 'Genoa', '00000000-0000-0000-0000-000000000000'];

/** A message in which every field is there and right. */
export function rightMessage(desc: DescMessage, depth = 0): Uint8Array {
  return concat(...rightFields(desc, depth).values());
}

/** Encoded fields by number; of a oneof only the first. */
function rightFields(desc: DescMessage, depth: number): Map<number, Uint8Array> {
  const fields = new Map<number, Uint8Array>();
  const groups = new Set<string>();
  for (const field of desc.fields) {
    if (field.oneof !== undefined) {
      if (groups.has(field.oneof.name)) continue;
      groups.add(field.oneof.name);
    }
    if (depth < depthMax) fields.set(field.number, rightField(field, depth));
  }
  return fields;
}

function rightField(field: DescField, depth: number): Uint8Array {
  if (field.fieldKind === 'map') return pair(field, 0);
  const rules = field.fieldKind === 'list' ? itemRules(field) : rulesOf(field);
  return tagged(field, rightValue(field, rules, depth, 0));
}

/** Each fault of each field, nested ones too. */
export function wrongFields(desc: DescMessage, path = '', depth = 0): WrongField[] {
  const right = rightFields(desc, depth);
  const wrongs: WrongField[] = [
    { field: join(path, '#1000'), what: 'unknown', bytes: concat(...right.values(), unknown()) },
  ];
  for (const field of desc.fields) {
    const others = new Map(right);
    for (const mate of field.oneof?.fields ?? []) others.delete(mate.number);
    others.delete(field.number);
    const rest = concat(...others.values());
    for (const [what, wrong, name = field.name] of wrongEncodings(field, depth)) {
      wrongs.push({ field: join(path, name), what, bytes: concat(rest, wrong) });
    }
    if (field.message !== undefined && field.fieldKind !== 'map' && depth < depthMax) {
      for (const inner of wrongFields(field.message, '', depth + 1)) {
        const here = field.fieldKind === 'list' ? `${field.name}[0]` : field.name;
        wrongs.push({
          field: join(path, `${here}.${inner.field}`),
          what: inner.what,
          bytes: concat(rest, tagged(field, lengthPrefixed(inner.bytes))),
        });
      }
    }
  }
  return wrongs;
}

type Encoding = readonly [what: string, bytes: Uint8Array, name?: string];

function wrongEncodings(field: DescField, depth: number): Encoding[] {
  return [...wireFaults(field, depth), ...ruleFaults(field, depth)];
}

/** Faults that no rule needs to state. */
function wireFaults(field: DescField, depth: number): Encoding[] {
  const right = rightField(field, depth);
  const faults: Encoding[] = [];
  const other = wireType(field) === WireType.Bit32 ? WireType.Bit64 : WireType.Bit32;
  const body = new Uint8Array(other === WireType.Bit32 ? 4 : 8);
  const isMessages = field.fieldKind === 'list' && field.message !== undefined;
  const name = isMessages ? `${field.name}[0]` : field.name;
  faults.push(['another wire type', concat(tag(field.number, other), body), name]);
  faults.push(['truncated', right.length > 2 ? right.subarray(0, -1) : right.subarray(0, 1), name]);
  if (field.fieldKind === 'map') {
    faults.push([
      'the same key twice',
      concat(right, right),
      `${field.name}["${keyOf(field, 0)}"]`,
    ]);
  } else if (field.fieldKind !== 'list') {
    faults.push(['twice', concat(right, right)]);
    const mate = field.oneof?.fields.find((f) => f !== field);
    if (mate !== undefined) {
      faults.push(['beside another of its oneof', concat(rightField(mate, depth), right)]);
    }
  }
  if (field.fieldKind !== 'map' && field.scalar === ScalarType.STRING) {
    faults.push(['not UTF-8', tagged(field, lengthPrefixed(Uint8Array.of(0xc3, 0x28)))]);
  }
  const is32 = field.scalar === ScalarType.UINT32 || field.enum !== undefined;
  if (is32 && field.fieldKind !== 'map') {
    faults.push(['beyond 32 bits', tagged(field, varint(2n ** 33n + 1n))]);
  }
  return faults;
}

/** Faults against the rules of the .proto. */
function ruleFaults(field: DescField, depth: number): Encoding[] {
  const rules = rulesOf(field);
  const faults: Encoding[] = [];
  if (rules?.required === true) faults.push(['missing', new Uint8Array()]);
  if (field.fieldKind === 'map' && rules?.type.case === 'map') {
    faults.push(...mapFaults(field, rules.type.value));
  } else if (field.fieldKind === 'list') {
    faults.push(...listFaults(field, rules, depth));
  } else {
    for (const [what, value] of valueFaults(field, rules)) {
      faults.push([what, tagged(field, value)]);
    }
  }
  return faults;
}

function mapFaults(field: MapField, { minPairs, maxPairs, keys, values }: MapRules): Encoding[] {
  const many = Array.from({ length: Number(maxPairs) + 1 }, (_, i) => pair(field, i));
  const faults: Encoding[] = [['too many', concat(...many)]];
  if (minPairs > 0n) faults.push(['too few', new Uint8Array()]);
  const named = (key: string) => `${field.name}["${key}"]`;
  const right = keyOf(field, 0);
  for (const [what, value] of wrongValues(values)) {
    const bytes = entry(field, keyBytes(field, right), part(2, value));
    faults.push([`a value ${what}`, bytes, `${field.name}[${quoted(field, right)}]`]);
  }
  for (const [what, value] of wrongValues(keys)) {
    const isText = field.mapKey === ScalarType.STRING;
    const key = isText ? fromUtf8(value.subarray(1)) : String(new BinaryReader(value).uint64());
    const bytes = entry(field, keyBytes(field, key), part(2, rightMapValue(values)));
    faults.push([`a key ${what}`, bytes, isText ? named(key) : `${field.name}[${key}]`]);
  }
  if (field.mapKey === ScalarType.UINT32) {
    const key = String(2n ** 32n);
    const bytes = entry(field, keyBytes(field, key), part(2, rightMapValue(values)));
    faults.push(['a key beyond 32 bits', bytes]);
  }
  return faults;
}

const quoted = (field: MapField, key: string) =>
  field.mapKey === ScalarType.STRING ? `"${key}"` : key;

/** One right pair, another for each number. */
function pair(field: MapField, nth: number): Uint8Array {
  const rules = rulesOf(field);
  const values = rules?.type.case === 'map' ? rules.type.value.values : undefined;
  return entry(field, keyBytes(field, keyOf(field, nth)), part(2, rightMapValue(values)));
}

/** A zero key may be left out on the wire: none of ours is. */
function keyOf(field: MapField, nth: number): string {
  return field.mapKey === ScalarType.STRING ? `k${nth === 0 ? '' : nth}` : `${nth}`;
}

function keyBytes(field: MapField, key: string): Uint8Array {
  return field.mapKey === ScalarType.STRING
    ? part(1, lengthPrefixed(utf8(key)))
    : concat(tag(1, WireType.Varint), varint(BigInt(key)));
}

function rightMapValue(rules: FieldRules | undefined): Uint8Array {
  const type = rules?.type;
  const least = type?.case === 'bytes' || type?.case === 'string' ? type.value.minLen : 1n;
  return lengthPrefixed(new Uint8Array(Math.max(1, Number(least))).fill(0x61));
}

function listFaults(
  field: DescField & { fieldKind: 'list' },
  rules: FieldRules | undefined,
  depth: number,
): Encoding[] {
  const faults: Encoding[] = [];
  const items = itemRules(field);
  if (rules?.type.case === 'repeated') {
    const { minItems, maxItems, unique } = rules.type.value;
    const make = (i: number) => tagged(field, rightValue(field, items, depth, unique ? i : 0));
    if (minItems > 0n) faults.push(['too few', new Uint8Array()]);
    if (maxItems > 0n) {
      const count = Number(maxItems) + 1;
      faults.push(['too many', concat(...Array.from({ length: count }, (_, i) => make(i)))]);
    }
    if (unique) faults.push(['the same twice', concat(make(0), make(0))]);
  }
  for (const [what, value] of valueFaults(field, items)) {
    faults.push([`an item ${what}`, tagged(field, value), `${field.name}[0]`]);
  }
  return faults;
}

function valueFaults(
  field: DescField,
  rules: FieldRules | undefined,
): (readonly [string, Uint8Array])[] {
  const faults = wrongValues(rules);
  if (field.enum !== undefined && rules?.type.case === 'enum') {
    const known = field.enum.values.map((v) => v.number);
    if (rules.type.value.definedOnly)
      faults.push(['unknown', varint(BigInt(Math.max(...known)) + 1n)]);
    for (const refused of rules.type.value.notIn) {
      // Zero is absence; only where presence is asked does it reach the rule, as it does here.
      faults.push([`${refused}`, varint(BigInt(refused))]);
    }
  }
  return faults;
}

/** Values of a scalar that break its rules, without their tag. */
function wrongValues(rules: FieldRules | undefined): (readonly [string, Uint8Array])[] {
  const faults: (readonly [string, Uint8Array])[] = [];
  const zeroIgnored = rules?.ignore === Ignore.IF_ZERO_VALUE;
  const type = rules?.type;
  if (type?.case === 'string' || type?.case === 'bytes') {
    const at = (n: number) => lengthPrefixed(new Uint8Array(n).fill(0x61));
    const set = (name: string) => isSet(type.value, name);
    const { len, minLen, maxLen } = type.value;
    if (set('len')) {
      faults.push(['too short', at(Number(len) - 1)], ['too long', at(Number(len) + 1)]);
    }
    if (set('min_len') && minLen > (zeroIgnored ? 1n : 0n)) {
      faults.push(['too short', at(Number(minLen) - 1)]);
    }
    if (set('max_len')) faults.push(['too long', at(Number(maxLen) + 1)]);
    if (set('pattern')) faults.push(['of another form', lengthPrefixed(utf8('!'))]);
  } else if (type?.case === 'uint32' || type?.case === 'uint64') {
    const { greaterThan, lessThan } = type.value;
    if (greaterThan.case === 'gte' && greaterThan.value > (zeroIgnored ? 1 : 0)) {
      faults.push(['too low', varint(BigInt(greaterThan.value) - 1n)]);
    }
    if (lessThan.case === 'lte') faults.push(['too high', varint(BigInt(lessThan.value) + 1n)]);
  }
  return faults;
}

function isSet(rules: { $typeName: string }, name: string): boolean {
  const schema = FieldRulesSchema.fields
    .map((f) => f.message)
    .find((m) => m?.typeName === rules.$typeName);
  const field = schema?.fields.find((f) => f.name === name);
  return field !== undefined && isFieldSet(rules as never, field);
}

function rightValue(
  field: DescField,
  rules: FieldRules | undefined,
  depth: number,
  nth: number,
): Uint8Array {
  if (field.message !== undefined) return lengthPrefixed(rightMessage(field.message, depth + 1));
  const type = rules?.type;
  if (field.enum !== undefined) {
    return varint(
      BigInt(field.enum.values[Math.min(nth + 1, field.enum.values.length - 1)]!.number),
    );
  }
  if (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES) {
    return lengthPrefixed(rightBytes(field, type, nth));
  }
  if (field.scalar === ScalarType.BOOL) return varint(1n);
  const least =
    type?.case === 'uint32' || type?.case === 'uint64' ? (type.value.greaterThan.value ?? 1) : 1;
  return varint(BigInt(least) + BigInt(nth));
}

function rightBytes(
  field: DescField,
  type: FieldRules['type'] | undefined,
  nth: number,
): Uint8Array {
  if (type?.case === 'string' && isSet(type.value, 'pattern')) {
    const pattern = new RegExp(type.value.pattern);
    const found = samples
      .flatMap((s) => (nth === 0 ? s : numbered(s, nth)))
      .find((s) => pattern.test(s));
    if (found === undefined)
      throw new TypeError(`no sample fits ${field.parent.name}.${field.name}`);
    return utf8(found);
  }
  if (type?.case !== 'string' && type?.case !== 'bytes') return utf8(`a${nth}`);
  const length = Number(type.value.len || type.value.minLen || 1n);
  const out = new Uint8Array(Math.max(length, nth > 0 ? 8 : 1)).fill(0x61);
  if (nth > 0) out.set(utf8(String(nth).padStart(8, '0').slice(-Math.min(8, out.length))));
  return out;
}

function rulesOf(field: DescField): FieldRules | undefined {
  const rules = getOption(field, fieldOption);
  return rules.$typeName === undefined ? undefined : rules;
}

function itemRules(field: DescField): FieldRules | undefined {
  const rules = rulesOf(field);
  return rules?.type.case === 'repeated' ? rules.type.value.items : undefined;
}

function wireType(field: DescField): WireType {
  const isLength =
    field.message !== undefined ||
    field.fieldKind === 'map' ||
    field.scalar === ScalarType.STRING ||
    field.scalar === ScalarType.BYTES;
  return isLength ? WireType.LengthDelimited : WireType.Varint;
}

function tag(number: number, type: WireType): Uint8Array {
  return new BinaryWriter().tag(number, type).finish();
}

function tagged(field: DescField, value: Uint8Array): Uint8Array {
  return concat(tag(field.number, wireType(field)), value);
}

function entry(field: DescField, ...parts: readonly Uint8Array[]): Uint8Array {
  return concat(tag(field.number, WireType.LengthDelimited), lengthPrefixed(concat(...parts)));
}

/** A part of an entry, its value with its length. */
function part(number: number, value: Uint8Array): Uint8Array {
  return concat(tag(number, WireType.LengthDelimited), value);
}

function lengthPrefixed(bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().bytes(bytes).finish();
}

function varint(value: bigint): Uint8Array {
  return new BinaryWriter().uint64(value).finish();
}

function unknown(): Uint8Array {
  return concat(tag(1000, WireType.Varint), varint(1n));
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

/** With a number behind it, or in the place of its last characters. */
function numbered(sample: string, nth: number): string[] {
  return [`${sample}${nth}`, sample.slice(0, -`${nth}`.length) + nth];
}
