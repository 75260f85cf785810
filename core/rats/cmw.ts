import { decode } from '../cbor/decode.js';
import { encode } from '../cbor/encode.js';
import { asArray, asBytes, asInteger, asMap, asText } from '../cbor/read.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';

/** What a record is for (draft-ietf-rats-msg-wrap s.3.1, `ind`); bits that may be combined. */
export const cmwIndicator = {
  referenceValues: 1,
  endorsements: 2,
  evidence: 4,
  attestationResults: 8,
} as const;

/** A CMW record: one conceptual message and the media type that says how to read it. */
export interface CmwRecord {
  readonly mediaType: string;
  readonly value: Uint8Array;
  /** Bits of {@link cmwIndicator}; 0 where it is not said. */
  readonly indicator: number;
}

/** A CMW collection of records by label. */
export type CmwCollection = ReadonlyMap<string, CmwRecord>;

const collectionTypeLabel = '__cmwc_t';
/** Type of the collections that CVMP makes. */
const collectionType = 'tag:ietf.org,2023:draft-deng-teep-cvmp#evidence';

/** More records than this are refused. */
const recordsMax = 16;
/** Largest collection, bytes (protocol.md s.6.5). */
const bytesMax = 1 << 20;
/** Largest media type, characters. */
const mediaTypeMax = 128;

/** Encodes a collection (draft-ietf-rats-msg-wrap s.3.3) as deterministic CBOR. */
export function encodeCmw(collection: CmwCollection): Uint8Array {
  const map = new Map<CborKey, CborValue>([[collectionTypeLabel, collectionType]]);
  for (const [label, { mediaType, value, indicator }] of collection) {
    if (label === collectionTypeLabel) throw new TypeError(`${label} is no label`);
    map.set(label, indicator === 0 ? [mediaType, value] : [mediaType, value, indicator]);
  }
  return encode(map);
}

/**
 * Decodes a collection of records. Tagged records, nested collections and numeric content formats,
 * which no CVMP evidence uses, are refused.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function decodeCmw(bytes: Uint8Array, field = 'cmw_collection'): CmwCollection {
  const records = new Map<string, CmwRecord>();
  for (const [label, value] of asMap(decode(bytes, { field, maxBytes: bytesMax }), field)) {
    if (typeof label !== 'string') {
      throw new CvmpError('MALFORMED', `${field} has label ${label}, not a text`, { field });
    }
    if (label === collectionTypeLabel) {
      if (asText(value, `${field}.${label}`) !== collectionType) {
        throw new CvmpError('MALFORMED', `${field} is a collection of another type`, { field });
      }
      continue;
    }
    if (records.size === recordsMax) {
      throw new CvmpError('SIZE', `${field} has more than ${recordsMax} records`, { field });
    }
    records.set(label, readRecord(value, `${field}.${label}`));
  }
  return records;
}

function readRecord(value: CborValue, field: string): CmwRecord {
  const parts = asArray(value, field, { min: 2, max: 3 });
  return {
    mediaType: asText(parts[0], `${field}.type`, { min: 1, max: mediaTypeMax }),
    value: asBytes(parts[1], `${field}.value`),
    indicator: parts.length === 2 ? 0 : asInteger(parts[2], `${field}.ind`, { min: 1, max: 15 }),
  };
}
