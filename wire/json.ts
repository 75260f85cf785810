import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type MessageShape,
} from '@bufbuild/protobuf';
import { fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { firstDuplicateKey } from '#core/json.js';

const depthMax = 16;
const wellKnown = 'google.protobuf.';

/**
 * Parses a message in ProtoJSON as strictly as {@link decodeStrict} its binary form: every field is
 * known, of its own type, and there once, in one spelling.
 * @throws CvmpError INVALID_FIELD naming the field; MALFORMED where the bytes are no JSON object
 */
export function decodeJsonStrict<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
): MessageShape<D> {
  const json = parse(schema, bytes);
  judge(schema, json, '', 0);
  return fromJson(schema, json, { ignoreUnknownFields: false });
}

function parse(schema: DescMessage, bytes: Uint8Array): JsonObject {
  try {
    const text = fromUtf8(bytes);
    const json: unknown = JSON.parse(text);
    if (isObject(json)) {
      const twice = firstDuplicateKey(text);
      if (twice !== undefined) throw invalid(twice, 'comes twice');
      return json;
    }
  } catch (cause) {
    if (cause instanceof CvmpError && cause.code === 'INVALID_FIELD') throw cause;
    throw new CvmpError('MALFORMED', `not a ${schema.name} in JSON`, { cause });
  }
  throw new CvmpError('MALFORMED', `${schema.name} in JSON is not an object`);
}

function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function judge(schema: DescMessage, json: JsonObject, path: string, depth: number): void {
  if (depth > depthMax) throw invalid(path, 'is nested too deep');
  const seen = new Set<string>();
  for (const [key, value] of Object.entries(json)) {
    const field = schema.fields.find((f) => f.jsonName === key || f.name === key);
    if (field === undefined) throw invalid(join(path, key), 'is not known here');
    const name = join(path, field.name);
    for (const one of [field.name, field.oneof && `oneof ${field.oneof.name}`]) {
      if (one === undefined) continue;
      if (seen.has(one)) throw invalid(name, 'comes twice, or beside another of its oneof');
      seen.add(one);
    }
    judgeField(schema, field, key, value, name, depth);
  }
}

function judgeField(
  schema: DescMessage,
  field: DescField,
  key: string,
  value: JsonValue,
  name: string,
  depth: number,
): void {
  const inner = field.message;
  if (inner !== undefined && field.fieldKind !== 'map' && !inner.typeName.startsWith(wellKnown)) {
    if (field.fieldKind === 'list' && Array.isArray(value)) {
      for (const [i, item] of value.entries()) {
        const at = `${name}[${i}]`;
        if (!isObject(item)) throw invalid(at, 'is not an object');
        judge(inner, item, at, depth + 1);
      }
      return;
    }
    if (field.fieldKind === 'message' && isObject(value)) {
      judge(inner, value, name, depth + 1);
      return;
    }
  }
  try {
    fromJson(schema, { [key]: value }, { ignoreUnknownFields: false });
  } catch (cause) {
    throw invalid(name, 'is of another type, or out of its range', cause);
  }
}

function invalid(field: string, what: string, cause?: unknown): CvmpError {
  return new CvmpError('INVALID_FIELD', `${field} ${what}`, { field, cause });
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
