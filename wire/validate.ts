import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator } from '@bufbuild/protovalidate';
import { CvmpError } from '#core/errors.js';
import { readShort, writeShort } from './short-cuts.js';
import { decodeStrict } from './strict.js';

const validator = createValidator({ failFast: true });

/**
 * Holds a message to the field rules that its .proto states.
 * @param path names the message in errors; empty for the request itself
 * @throws CvmpError INVALID_FIELD naming the first field that breaks its rule
 */
export function validate<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  path = '',
): void {
  const result = validator.validate(schema, message);
  if (result.kind === 'valid') return;
  if (result.kind === 'error') {
    // A rule that does not compile is a fault of proto/, not of the sender.
    throw new TypeError(`rules of ${schema.typeName} do not run`, { cause: result.error });
  }
  const violation = result.violations[0];
  const at = violation === undefined ? '' : pathToString(violation.field);
  const field = path === '' || at === '' ? `${path}${at}` : `${path}.${at}`;
  const rule = violation?.message ?? 'breaks a rule';
  throw new CvmpError('INVALID_FIELD', `${field === '' ? schema.name : field}: ${rule}`, { field });
}

/**
 * {@link decodeStrict}, then {@link validate}: how every program reads what it is asked to do.
 * @throws CvmpError INVALID_FIELD, MALFORMED
 */
export function readMessage<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  path = '',
): MessageShape<D> {
  const short = readShort(schema, bytes);
  if (short !== undefined) return short as MessageShape<D>;
  const message = decodeStrict(schema, bytes, path);
  validate(schema, message, path);
  return message;
}

/** Serialises what one of our programs answers. */
export function writeMessage<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
): Uint8Array {
  return writeShort(schema, message) ?? toBinary(schema, message);
}
