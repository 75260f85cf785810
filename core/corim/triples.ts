import { asArray, asMap, type MapReader, readMap } from '../cbor/read.js';
import { type CborMap, type CborValue, Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import {
  type CryptoKey,
  type Identifier,
  listMax,
  readCryptoKeys,
  readIdentifier,
  readTagId,
} from './identifiers.js';
import { type Measurement, readMeasurements } from './measurement.js';

/** An `environment-map`: what measurements are of. At least one member is there. */
export interface Environment {
  readonly class?: EnvironmentClass;
  readonly instance?: Identifier;
  readonly group?: Identifier;
}

export interface EnvironmentClass {
  readonly classId?: Identifier;
  readonly vendor?: string;
  readonly model?: string;
  readonly layer?: number;
  readonly index?: number;
}

/** Reference and endorsed triples: measurements of one environment. */
export interface MeasurementsTriple {
  readonly environment: Environment;
  readonly measurements: readonly Measurement[];
}

/** Identity and attest-key triples. */
export interface KeysTriple {
  readonly environment: Environment;
  readonly keys: readonly CryptoKey[];
  readonly key: Identifier | undefined;
  readonly authorizedBy: readonly CryptoKey[];
}

/** Membership and dependency triples. Older drafts name a domain by an identifier. */
export interface DomainTriple {
  readonly domain: Environment | Identifier;
  readonly members: readonly (Environment | Identifier)[];
}

export interface CoswidTriple {
  readonly environment: Environment;
  readonly tagIds: readonly string[];
}

/** Where the condition holds, the first record whose selection holds adds its measurements. */
export interface EndorsementSeries {
  readonly condition: MeasurementsTriple & { readonly authorizedBy: readonly CryptoKey[] };
  readonly series: readonly {
    readonly selection: readonly Measurement[];
    readonly addition: readonly Measurement[];
  }[];
}

/** Where all conditions hold, all endorsements are added. */
export interface ConditionalEndorsement {
  readonly conditions: readonly MeasurementsTriple[];
  readonly endorsements: readonly MeasurementsTriple[];
}

/** A `triples-map` (draft-ietf-rats-corim s.5.1.4). */
export interface Triples {
  readonly reference: readonly MeasurementsTriple[];
  readonly endorsed: readonly MeasurementsTriple[];
  readonly identity: readonly KeysTriple[];
  readonly attestKey: readonly KeysTriple[];
  readonly dependency: readonly DomainTriple[];
  readonly membership: readonly DomainTriple[];
  readonly coswid: readonly CoswidTriple[];
  readonly endorsementSeries: readonly EndorsementSeries[];
  readonly conditionalEndorsements: readonly ConditionalEndorsement[];
  /** Triples of a profile, as they are. */
  readonly extensions: CborMap;
}

const textRule = { max: 4096 };

/** @throws CvmpError MALFORMED, SIZE */
export function readTriples(value: CborValue, field: string): Triples {
  nonEmpty(value, field);
  return readMap(value, field, (m) => ({
    reference: records(m, 0, 'reference-triples', readMeasurementsTriple),
    endorsed: records(m, 1, 'endorsed-triples', readMeasurementsTriple),
    identity: records(m, 2, 'identity-triples', readKeysTriple),
    attestKey: records(m, 3, 'attest-key-triples', readKeysTriple),
    dependency: records(m, 4, 'dependency-triples', readDomainTriple),
    membership: records(m, 5, 'membership-triples', readDomainTriple),
    coswid: records(m, 6, 'coswid-triples', readCoswidTriple),
    endorsementSeries: records(m, 8, 'conditional-endorsement-series-triples', readSeries),
    conditionalEndorsements: records(m, 10, 'conditional-endorsement-triples', readConditional),
    extensions: m.extensions(),
  }));
}

function nonEmpty(value: CborValue | undefined, field: string): void {
  if (asMap(value, field).size > 0) return;
  throw new CvmpError('MALFORMED', `${field} is empty`, { field });
}

function records<T>(
  m: MapReader,
  key: number,
  name: string,
  read: (value: CborValue, field: string) => T,
): readonly T[] {
  return m.has(key) ? m.array(key, name, { min: 1, max: listMax }, read) : [];
}

function readEnvironment(value: CborValue | undefined, field: string): Environment {
  nonEmpty(value, field);
  return readMap(value, field, (m) => {
    const name = (key: number, what: string, allowed: Parameters<typeof readIdentifier>[2]) =>
      m.has(key) ? { [what]: readIdentifier(m.value(key, what), m.path(what), allowed) } : {};
    return {
      ...(m.has(0) ? { class: readClass(m.value(0, 'class'), m.path('class')) } : {}),
      ...name(1, 'instance', ['ueid', 'uuid', 'bytes', 'key', 'oid', 'text', 'uint']),
      ...name(2, 'group', ['uuid', 'bytes', 'text']),
    };
  });
}

function readClass(value: CborValue, field: string): EnvironmentClass {
  nonEmpty(value, field);
  return readMap(value, field, (m) => ({
    ...(m.has(0)
      ? {
          classId: readIdentifier(m.value(0, 'class-id'), m.path('class-id'), [
            'oid',
            'uuid',
            'bytes',
            'impl-id',
          ]),
        }
      : {}),
    ...(m.has(1) ? { vendor: m.text(1, 'vendor', textRule) } : {}),
    ...(m.has(2) ? { model: m.text(2, 'model', textRule) } : {}),
    ...(m.has(3) ? { layer: m.integer(3, 'layer') } : {}),
    ...(m.has(4) ? { index: m.integer(4, 'index') } : {}),
  }));
}

function readMeasurementsTriple(value: CborValue, field: string): MeasurementsTriple {
  const [environment, measurements] = asArray(value, field, { length: 2 });
  return {
    environment: readEnvironment(environment, `${field}.environment`),
    // Drafts before -03 have one measurement here instead of a list of them.
    measurements:
      measurements instanceof Map
        ? readMeasurements([measurements], `${field}.measurements`)
        : readMeasurements(measurements, `${field}.measurements`),
  };
}

function readKeysTriple(value: CborValue, field: string): KeysTriple {
  const [environment, keys, conditions] = asArray(value, field, { min: 2, max: 3 });
  const where = `${field}.conditions`;
  if (conditions !== undefined) nonEmpty(conditions, where);
  const asked =
    conditions === undefined ? undefined : readMap(conditions, where, readKeyConditions);
  return {
    environment: readEnvironment(environment, `${field}.environment`),
    keys: readCryptoKeys(keys ?? null, `${field}.key-list`),
    key: asked?.key,
    authorizedBy: asked?.authorizedBy ?? [],
  };
}

function readKeyConditions(m: MapReader): Pick<KeysTriple, 'key' | 'authorizedBy'> {
  return {
    key: m.optional(0, () => readIdentifier(m.value(0, 'mkey'), m.path('mkey'), ['any'])),
    authorizedBy:
      m.optional(1, () => readCryptoKeys(m.value(1, 'authorized-by'), m.path('authorized-by'))) ??
      [],
  };
}

function readDomain(value: CborValue | undefined, field: string): Environment | Identifier {
  if (value instanceof Tag || typeof value === 'string' || typeof value === 'number') {
    return readIdentifier(value, field, ['any']);
  }
  return readEnvironment(value, field);
}

function readDomainTriple(value: CborValue, field: string): DomainTriple {
  const [domain, members] = asArray(value, field, { length: 2 });
  return {
    domain: readDomain(domain, `${field}.domain`),
    members: asArray(members, `${field}.members`, { min: 1, max: listMax }).map((item, i) =>
      readDomain(item, `${field}.members[${i}]`),
    ),
  };
}

function readCoswidTriple(value: CborValue, field: string): CoswidTriple {
  const [environment, tagIds] = asArray(value, field, { length: 2 });
  return {
    environment: readEnvironment(environment, `${field}.environment`),
    tagIds: asArray(tagIds, `${field}.tag-ids`, { min: 1, max: listMax }).map((item, i) =>
      readTagId(item, `${field}.tag-ids[${i}]`),
    ),
  };
}

function readSeries(value: CborValue, field: string): EndorsementSeries {
  const [common, series] = asArray(value, field, { length: 2 });
  const where = `${field}.condition`;
  // Drafts before -06 have a bare environment here.
  const parts = common instanceof Map ? [common, []] : asArray(common, where, { min: 2, max: 3 });
  const [environment, claims, authorizedBy] = parts as readonly CborValue[];
  return {
    condition: {
      environment: readEnvironment(environment, `${where}.environment`),
      measurements: readMeasurements(claims, `${where}.claims-list`, 0),
      authorizedBy:
        authorizedBy === undefined ? [] : readCryptoKeys(authorizedBy, `${where}.authorized-by`),
    },
    series: asArray(series, `${field}.series`, { min: 1, max: listMax }).map((item, i) => {
      const path = `${field}.series[${i}]`;
      const [selection, addition] = asArray(item, path, { length: 2 });
      return {
        selection: readMeasurements(selection, `${path}.selection`),
        addition: readMeasurements(addition, `${path}.addition`),
      };
    }),
  };
}

function readConditional(value: CborValue, field: string): ConditionalEndorsement {
  const [conditions, endorsements] = asArray(value, field, { length: 2 });
  const list = (items: CborValue | undefined, name: string) =>
    asArray(items, `${field}.${name}`, { min: 1, max: listMax }).map((item, i) =>
      readMeasurementsTriple(item, `${field}.${name}[${i}]`),
    );
  return {
    conditions: list(conditions, 'conditions'),
    endorsements: list(endorsements, 'endorsements'),
  };
}
