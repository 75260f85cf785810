import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';

/** Bytes that a message leaves empty where it does not ask for them. */
export function stated(bytes: Uint8Array): Uint8Array | undefined {
  return bytes.length === 0 ? undefined : bytes;
}

/** @throws CvmpError POLICY_INVALID where a value has bits that its mask does not look at */
export function withinMask(mask: bigint, value: bigint, field: string): void {
  if ((value & ~mask) === 0n) return;
  throw new CvmpError('POLICY_INVALID', `${field} has bits outside of its mask`, { field });
}

/** @throws CvmpError POLICY_INVALID where a name comes twice */
export function once(names: readonly string[], field: (i: number) => string): void {
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice < 0) return;
  throw new CvmpError('POLICY_INVALID', `${field(twice)} comes twice`, { field: field(twice) });
}

/** Reference Values, none of them twice. @throws CvmpError POLICY_INVALID */
export function onceEach(
  references: readonly (readonly (Uint8Array | undefined)[])[],
  path: string,
): void {
  const names = references.map((values) =>
    values.map((value) => (value === undefined ? '' : toHex(value))).join(),
  );
  once(names, (i) => `${path}[${i}]`);
}

/**
 * Milliseconds; RFC 3339's years are all that a Timestamp may say.
 * @throws CvmpError INVALID_FIELD
 */
export function momentOf(timestamp: Timestamp | undefined, field: string): number | undefined {
  if (timestamp === undefined) return undefined;
  const { seconds, nanos } = timestamp;
  const isTime = seconds >= 0n && seconds < 253_402_300_800n && nanos >= 0 && nanos < 1e9;
  if (!isTime) throw new CvmpError('INVALID_FIELD', `${field} is no time since 1970`, { field });
  return timestampMs(timestamp);
}
