import { decode } from '../cbor/decode.js';
import { encode } from '../cbor/encode.js';
import { asArray, asBoolean, asBytes, asInteger, asMap, asText } from '../cbor/read.js';
import type { CborMap, CborValue } from '../cbor/value.js';
import { coseKey, readCoseKey } from '../cose/key.js';
import { CvmpError } from '../errors.js';
import {
  type Tier,
  type TrustVector,
  tierOf,
  tierOfValue,
  tierValues,
  trustClaimNames,
} from './ar4si.js';
import {
  type CvmpAppraisal,
  checkEar,
  dialectOf,
  type Ear,
  type EarAppraisal,
  nonceRule,
  onlyPolicy,
  policiesMax,
  textRule,
} from './ear.js';

/** CBOR labels (draft-ietf-rats-ear s.9.1; RFC 9711; -70002: Veraison, -70300: CVMP). */
const claim = {
  exp: 4,
  iat: 6,
  cnf: 8,
  nonce: 10,
  profile: 265,
  submods: 266,
  status: 1000,
  vector: 1001,
  rawEvidence: 1002,
  policies: 1003,
  verifier: 1004,
  attestedKey: -70002,
  cvmp: -70300,
} as const;

/** cnf member of a COSE_Key (RFC 8747 s.3.1). */
const cnfKey = 1;

/** Deterministic CBOR of the claims. */
export function encodeClaims(ear: Ear): Uint8Array {
  checkEar(ear);
  const { policyList } = dialectOf(ear.profile);
  const map = new Map<number, CborValue>([
    [claim.profile, ear.profile],
    [claim.iat, ear.issuedAt],
    [
      claim.verifier,
      new Map([
        [0, ear.verifier.developer],
        [1, ear.verifier.build],
      ]),
    ],
    [
      claim.submods,
      new Map([...ear.submods].map(([label, one]) => [label, appraisalMap(one, policyList)])),
    ],
  ]);
  if (ear.expiresAt !== undefined) map.set(claim.exp, ear.expiresAt);
  if (ear.status !== undefined) map.set(claim.status, tierValues[ear.status]);
  if (ear.nonces.length > 0) map.set(claim.nonce, oneOrMore(ear.nonces));
  if (ear.rawEvidence !== undefined) map.set(claim.rawEvidence, ear.rawEvidence);
  if (ear.confirmationKey !== undefined) {
    map.set(claim.cnf, new Map([[cnfKey, coseKey(ear.confirmationKey)]]));
  }
  return encode(map);
}

function appraisalMap(appraisal: EarAppraisal, policyList: boolean): CborMap {
  const map = new Map<number, CborValue>([[claim.status, tierValues[appraisal.status]]]);
  if (appraisal.vector !== undefined) map.set(claim.vector, vectorMap(appraisal.vector));
  const { policyIds } = appraisal;
  if (policyIds.length > 0) map.set(claim.policies, policyList ? policyIds : onlyPolicy(policyIds));
  if (appraisal.nonces.length > 0) map.set(claim.nonce, oneOrMore(appraisal.nonces));
  if (appraisal.attestedKey !== undefined) {
    map.set(claim.attestedKey, new Map([['akpub', appraisal.attestedKey]]));
  }
  if (appraisal.cvmp !== undefined) map.set(claim.cvmp, cvmpMap(appraisal.cvmp));
  return map;
}

function vectorMap(vector: TrustVector): CborMap {
  return new Map(
    trustClaimNames.flatMap((name, key) => {
      const value = vector[name];
      return value === undefined ? [] : [[key, value] as const];
    }),
  );
}

function cvmpMap(cvmp: CvmpAppraisal): CborMap {
  return new Map<string, CborValue>([
    ['format', cvmp.format],
    ['level', cvmp.level],
    ['simulated', cvmp.simulated],
    ['config-digest', cvmp.configDigest],
    ['launch-measurement', cvmp.launchMeasurement],
  ]);
}

const oneOrMore = (nonces: readonly Uint8Array[]): CborValue =>
  nonces.length === 1 ? nonces[0]! : nonces;

/**
 * Reads the claims of a CWT. Claims that CVMP does not know are read over, as the draft demands.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_ALGORITHM
 */
export function decodeClaims(bytes: Uint8Array): Ear {
  const map = asMap(decode(bytes, { field: 'ear', canonical: false }), 'ear');
  const profile = asText(map.get(claim.profile), 'ear.eat_profile', textRule);
  const { policyList } = dialectOf(profile);
  const verifier = asMap(map.get(claim.verifier), 'ear.verifier-id');
  const optional = <T>(key: number, read: (value: CborValue) => T): T | undefined => {
    const value = map.get(key);
    return value === undefined ? undefined : read(value);
  };
  return checkEar({
    profile,
    issuedAt: asInteger(map.get(claim.iat), 'ear.iat'),
    expiresAt: optional(claim.exp, (value) => asInteger(value, 'ear.exp')),
    verifier: {
      developer: asText(verifier.get(0), 'ear.verifier-id.developer', textRule),
      build: asText(verifier.get(1), 'ear.verifier-id.build', textRule),
    },
    status: optional(claim.status, (value) => readTier(value, 'ear.status')),
    nonces: optional(claim.nonce, (value) => readNonces(value, 'ear.eat_nonce')) ?? [],
    confirmationKey: optional(claim.cnf, (value) =>
      readCoseKey(asMap(value, 'ear.cnf').get(cnfKey), 'ear.cnf'),
    ),
    rawEvidence: optional(claim.rawEvidence, (value) => asBytes(value, 'ear.raw-evidence')),
    submods: new Map(
      [...asMap(map.get(claim.submods), 'ear.submods')].map(([label, value]) => {
        const name = asText(label as CborValue, 'ear.submods', textRule);
        return [name, readAppraisal(value, `ear.submods.${name}`, policyList)];
      }),
    ),
  });
}

function readAppraisal(value: CborValue, field: string, policyList: boolean): EarAppraisal {
  const map = asMap(value, field);
  const vector = map.get(claim.vector);
  const policies = map.get(claim.policies);
  const nonce = map.get(claim.nonce);
  const key = map.get(claim.attestedKey);
  const cvmp = map.get(claim.cvmp);
  return {
    status: readTier(map.get(claim.status), `${field}.status`),
    vector: vector === undefined ? undefined : readVector(vector, `${field}.vector`),
    policyIds: policies === undefined ? [] : readPolicies(policies, field, policyList),
    nonces: nonce === undefined ? [] : readNonces(nonce, `${field}.eat_nonce`),
    attestedKey:
      key === undefined
        ? undefined
        : asBytes(asMap(key, `${field}.key`).get('akpub'), `${field}.akpub`, { min: 1, max: 4096 }),
    cvmp: cvmp === undefined ? undefined : readCvmp(cvmp, `${field}.cvmp`),
  };
}

function readTier(value: CborValue | undefined, field: string): Tier {
  const tier = tierOfValue(asInteger(value, field));
  if (tier === undefined) throw new CvmpError('MALFORMED', `${field} is no tier`, { field });
  return tier;
}

function readVector(value: CborValue, field: string): TrustVector {
  const vector: Partial<Record<string, number>> = {};
  for (const [key, item] of asMap(value, field)) {
    const name = typeof key === 'number' ? trustClaimNames[key] : undefined;
    if (name === undefined) {
      throw new CvmpError('MALFORMED', `${field} has a category ${String(key)}`, { field });
    }
    const number = asInteger(item, `${field}.${name}`, { min: -128, max: 127 });
    tierOf(number);
    vector[name] = number;
  }
  return vector;
}

function readPolicies(value: CborValue, path: string, policyList: boolean): readonly string[] {
  const field = `${path}.policies`;
  if (!policyList && typeof value === 'string') {
    return [asText(value, field, textRule)];
  }
  return asArray(value, field, { min: 1, max: policiesMax }).map((item) =>
    asText(item, field, textRule),
  );
}

function readNonces(value: CborValue, field: string): readonly Uint8Array[] {
  const items = Array.isArray(value) ? asArray(value, field, { min: 1, max: 8 }) : [value];
  return items.map((item) => asBytes(item as CborValue, field, nonceRule));
}

function readCvmp(value: CborValue, field: string): CvmpAppraisal {
  const map = asMap(value, field);
  const at = (name: string) => [map.get(name), `${field}.${name}`] as const;
  return {
    format: asText(...at('format'), { min: 1, max: 64 }),
    level: asInteger(...at('level'), { max: 64 }),
    simulated: asBoolean(...at('simulated')),
    configDigest: asBytes(...at('config-digest'), { min: 32, max: 64 }),
    launchMeasurement: asBytes(...at('launch-measurement'), { max: 64 }),
  };
}
