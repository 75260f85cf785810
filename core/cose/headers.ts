import { decode } from '../cbor/decode.js';
import { encode } from '../cbor/encode.js';
import { asArray, asBytes, asMap } from '../cbor/read.js';
import type { CborKey, CborMap, CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';

/** Header labels (RFC 9052 s.3.1; typ: RFC 9596; x5chain: RFC 9360). */
export const label = {
  alg: 1,
  crit: 2,
  contentType: 3,
  kid: 4,
  iv: 5,
  partialIv: 6,
  typ: 16,
  x5chain: 33,
} as const;

const understood: ReadonlySet<CborKey> = new Set(Object.values(label));

/** Both header buckets of a COSE object, as received. */
export interface CoseHeaders {
  /** The bytes that are authenticated: as received, but empty for an empty map (RFC 9052 s.3). */
  readonly protectedBytes: Uint8Array;
  readonly protected: CborMap;
  readonly unprotected: CborMap;
}

/** Headers that a caller sets; `alg` is put into the protected bucket by the maker. */
export interface HeadersToSet {
  readonly protected?: CborMap;
  readonly unprotected?: CborMap;
}

export interface HeaderRules {
  /** See DecodeOptions.canonical. */
  readonly canonical?: boolean;
  /** Labels that the caller acts on beside those of {@link label}, for `crit`. */
  readonly understood?: readonly CborKey[];
}

/**
 * Reads and judges the two buckets: a label once over both, `crit` in the protected bucket and
 * understood, known headers of their types (RFC 9052 s.3, s.3.1).
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL
 */
export function readHeaders(
  protectedValue: CborValue | undefined,
  unprotectedValue: CborValue | undefined,
  rules: HeaderRules = {},
): CoseHeaders {
  const raw = asBytes(protectedValue, 'protected');
  const canonical = rules.canonical ?? true;
  const protectedMap =
    raw.length === 0
      ? new Map<CborKey, CborValue>()
      : asMap(decode(raw, { canonical, field: 'protected' }), 'protected');
  const unprotected = asMap(unprotectedValue, 'unprotected');
  for (const key of unprotected.keys()) {
    if (protectedMap.has(key)) throw malformed(`header ${String(key)} is in both buckets`);
  }
  const empty = protectedMap.size === 0;
  const headers: CoseHeaders = {
    protectedBytes: empty ? new Uint8Array() : raw,
    protected: protectedMap,
    unprotected,
  };
  checkTypes(headers);
  checkCritical(headers, rules.understood ?? []);
  return headers;
}

/** The bytes of a protected bucket with `alg` first. */
export function protectedBucket(alg: number, more: CborMap = new Map()): Uint8Array {
  return encode(new Map<CborKey, CborValue>([[label.alg, alg], ...more]));
}

/**
 * `alg`. CVMP trusts the protected bucket only; `either` is for foreign objects.
 * @returns undefined where it is absent
 */
export function algOf(
  headers: CoseHeaders,
  from: 'protected' | 'either',
): number | string | undefined {
  const alg =
    headers.protected.get(label.alg) ??
    (from === 'either' ? headers.unprotected.get(label.alg) : undefined);
  return alg as number | string | undefined;
}

/** `kid`, from either bucket: a hint, never trusted by itself. */
export function kidOf(headers: CoseHeaders): Uint8Array | undefined {
  return headerOf(headers, label.kid) as Uint8Array | undefined;
}

/** A header from either bucket. */
export function headerOf(headers: CoseHeaders, key: CborKey): CborValue | undefined {
  return headers.protected.get(key) ?? headers.unprotected.get(key);
}

function malformed(what: string): CvmpError {
  return new CvmpError('MALFORMED', `COSE: ${what}`);
}

const isText = (value: CborValue) => typeof value === 'string';
const isNumber = (value: CborValue) => typeof value === 'number';
const isBytes = (value: CborValue) => value instanceof Uint8Array;

const shapes: readonly [key: number, name: string, fits: (value: CborValue) => boolean][] = [
  [label.alg, 'alg', (v) => isNumber(v) || isText(v)],
  [label.contentType, 'content type', (v) => (isNumber(v) && Number(v) >= 0) || isText(v)],
  [label.kid, 'kid', isBytes],
  [label.iv, 'iv', isBytes],
  [label.partialIv, 'partial iv', isBytes],
  [label.typ, 'typ', (v) => (isNumber(v) && Number(v) >= 0) || isText(v)],
];

function checkTypes(headers: CoseHeaders): void {
  for (const [key, name, fits] of shapes) {
    const value = headerOf(headers, key);
    if (value !== undefined && !fits(value)) throw malformed(`header ${name} is of a wrong type`);
  }
  if (
    headerOf(headers, label.iv) !== undefined &&
    headerOf(headers, label.partialIv) !== undefined
  ) {
    throw malformed('iv and partial iv together');
  }
}

function checkCritical(headers: CoseHeaders, more: readonly CborKey[]): void {
  if (headers.unprotected.has(label.crit)) throw malformed('crit is not protected');
  const crit = headers.protected.get(label.crit);
  if (crit === undefined) return;
  for (const key of asArray(crit, 'crit', { min: 1 })) {
    if (typeof key !== 'number' && typeof key !== 'string') throw malformed('a label in crit');
    if (!headers.protected.has(key)) throw malformed(`crit names the absent header ${key}`);
    if (!understood.has(key) && !more.includes(key)) {
      throw new CvmpError('UNKNOWN_CRITICAL', `COSE: critical header ${key}`, { field: 'crit' });
    }
  }
}
