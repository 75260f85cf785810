import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  ScalarType,
  toJson,
} from '@bufbuild/protobuf';
import { toHex } from '#core/bytes.js';
import type { YamlFile, YamlPath, YamlTree } from './yaml-file.js';

/**
 * The form in which people and scripts read messages: field names as in proto/, bytes in lower-case
 * hex, enum values by their short names (`TEE_TYPE_SEV_SNP` is `sev-snp`), times as RFC 3339,
 * 64-bit integers as bigint.
 */
export type Readable =
  | string
  | number
  | bigint
  | boolean
  | readonly Readable[]
  | { readonly [key: string]: Readable };

/**
 * The readable form of a message.
 * @param zeros whether fields that hold zero are there too: yes for scripts, which want every
 *   field, no for people
 */
export function toReadable<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  zeros = true,
): { readonly [key: string]: Readable } {
  const json = toJson(schema, message, { useProtoFieldName: true, alwaysEmitImplicit: zeros });
  return readableMessage(schema, json as JsonObject);
}

function readableMessage(schema: DescMessage, json: JsonObject): { [key: string]: Readable } {
  const out: { [key: string]: Readable } = {};
  for (const field of schema.fields) {
    const value = json[field.name];
    if (value === undefined || value === null) continue;
    const readable = readableField(field, value);
    if (readable !== undefined) out[field.name] = readable;
  }
  return out;
}

function readableField(field: DescField, value: JsonValue): Readable | undefined {
  if (field.fieldKind === 'list') {
    return (value as JsonValue[]).map((item) => readableValue(field, item) ?? '');
  }
  if (field.fieldKind === 'map') {
    return Object.fromEntries(
      Object.entries(value as JsonObject).map(([k, v]) => [k, readableValue(field, v!) ?? '']),
    );
  }
  return readableValue(field, value);
}

function readableValue(field: DescField, value: JsonValue): Readable | undefined {
  if (field.message !== undefined) {
    return typeof value === 'string' ? value : readableMessage(field.message, value as JsonObject);
  }
  if (field.enum !== undefined) return shortNames(field.enum).byFull.get(value as string);
  if (field.scalar === ScalarType.BYTES) return toHex(Buffer.from(value as string, 'base64'));
  if (typeof value === 'string' && field.scalar !== ScalarType.STRING) return BigInt(value);
  return value as string | number | boolean;
}

/** Short name of an enum value, `unspecified` for 0. */
export function enumName(desc: DescEnum, value: number): string {
  const full = desc.value[value]?.name;
  if (full === undefined) return String(value);
  return shortNames(desc).byFull.get(full) ?? 'unspecified';
}

function shortNames(desc: DescEnum): {
  readonly byFull: ReadonlyMap<string, string>;
  readonly byShort: ReadonlyMap<string, string>;
} {
  const pairs = desc.values
    .filter((value) => value.number !== 0)
    .map((value): [string, string] => {
      const short = value.name.slice((desc.sharedPrefix ?? '').length);
      return [value.name, short.toLowerCase().replaceAll('_', '-')];
    });
  return { byFull: new Map(pairs), byShort: new Map(pairs.map(([full, short]) => [short, full])) };
}

/**
 * The message that a YAML file describes in readable form.
 * @throws CvmpError with the file's code, naming line and path, where a key is unknown or a value
 *   is not what its field asks
 */
export function fromYaml<D extends DescMessage>(schema: D, file: YamlFile): MessageShape<D> {
  return fromJson(schema, jsonMessage(schema, file.tree, [], file));
}

function jsonMessage(
  schema: DescMessage,
  tree: YamlTree,
  path: YamlPath,
  file: YamlFile,
): JsonObject {
  if (!(tree instanceof Map)) return file.refuse(path, 'must be a map of fields');
  const out: JsonObject = {};
  for (const [key, value] of tree) {
    const field = schema.fields.find((f) => f.name === key);
    if (field === undefined) {
      const known = schema.fields.map((f) => f.name).join(', ');
      return file.refuse([...path, key], `there is no such field; those here are ${known}`);
    }
    out[key] = jsonField(field, value, [...path, key], file);
  }
  return out;
}

function jsonField(field: DescField, tree: YamlTree, path: YamlPath, file: YamlFile): JsonValue {
  if (field.fieldKind === 'list') {
    if (!Array.isArray(tree)) return file.refuse(path, 'must be a list');
    return tree.map((item, i) => jsonValue(field, item, [...path, i], file));
  }
  if (field.fieldKind === 'map') {
    if (!(tree instanceof Map)) return file.refuse(path, 'must be a map');
    const out: JsonObject = {};
    for (const [written, value] of tree) {
      const key = `${scalar(field.mapKey, written, [...path, written], file)}`;
      if (key in out) return file.refuse([...path, written], 'comes twice');
      out[key] = jsonValue(field, value, [...path, written], file);
    }
    return out;
  }
  return jsonValue(field, tree, path, file);
}

function jsonValue(field: DescField, tree: YamlTree, path: YamlPath, file: YamlFile): JsonValue {
  const isTime = field.message?.typeName === 'google.protobuf.Timestamp';
  if (field.message !== undefined && !isTime) return jsonMessage(field.message, tree, path, file);
  if (typeof tree !== 'string') return file.refuse(path, 'must be a single value');
  if (isTime) return time(tree, path, file);
  if (field.enum !== undefined) {
    const { byShort } = shortNames(field.enum);
    const known = [...byShort.keys()].join(', ');
    return byShort.get(tree) ?? file.refuse(path, `must be one of ${known}`);
  }
  return scalar(field.scalar!, tree, path, file);
}

function time(text: string, path: YamlPath, file: YamlFile): string {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
  if (!form.test(text) || Number.isNaN(Date.parse(text))) {
    return file.refuse(path, 'must be a time such as 2027-01-31T12:00:00Z');
  }
  return text;
}

const integers: Partial<Record<ScalarType, { readonly min: bigint; readonly max: bigint }>> = {
  [ScalarType.UINT32]: { min: 0n, max: 2n ** 32n - 1n },
  [ScalarType.UINT64]: { min: 0n, max: 2n ** 64n - 1n },
  [ScalarType.INT32]: { min: -(2n ** 31n), max: 2n ** 31n - 1n },
  [ScalarType.INT64]: { min: -(2n ** 63n), max: 2n ** 63n - 1n },
};

function scalar(type: ScalarType, text: string, path: YamlPath, file: YamlFile): JsonValue {
  if (type === ScalarType.STRING) return text;
  if (type === ScalarType.BOOL) {
    if (text !== 'true' && text !== 'false') return file.refuse(path, 'must be true or false');
    return text === 'true';
  }
  if (type === ScalarType.BYTES) {
    if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
      return file.refuse(path, 'must be bytes in hex, two digits each');
    }
    return Buffer.from(text, 'hex').toString('base64');
  }
  const range = integers[type];
  if (range === undefined) throw new TypeError(`no readable form for scalar type ${type}`);
  if (!/^(-?\d{1,20}|0x[0-9a-fA-F]{1,16})$/.test(text)) {
    return file.refuse(path, 'must be a whole number, decimal or 0x…');
  }
  const value = BigInt(text);
  if (value < range.min || value > range.max) {
    return file.refuse(path, `must lie between ${range.min} and ${range.max}`);
  }
  return value.toString();
}
