import { concat, fromBase64Url, fromUtf8, toBase64Url, utf8 } from '../bytes.js';
import { asBoolean, asInteger as asNumber, asText } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { type EcPublicKey, ecPublicKey } from '../cose/key.js';
import { coordinateLength, type EcCurve } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { firstDuplicateKey } from '../json.js';
import {
  type Tier,
  type TrustClaimName,
  type TrustVector,
  tierOf,
  tierOfValue,
  tierValues,
  trustClaimNames,
} from './ar4si.js';
import {
  type CvmpAppraisal,
  checkEar,
  type Dialect,
  dialectOf,
  type Ear,
  type EarAppraisal,
  nonceRule,
  onlyPolicy,
  policiesMax,
  textRule,
} from './ear.js';

type JsonObject = { readonly [name: string]: unknown };

/** CVMP's extension claim; a name of its own, as RFC 7519 s.4.2 advises. */
const cvmpName = 'ear.cvmp.appraisal';

/** The claims as the payload of a JWT. */
export function writeClaims(ear: Ear): Uint8Array {
  checkEar(ear);
  const dialect = dialectOf(ear.profile);
  const { verifier, nonces, confirmationKey, rawEvidence, status, expiresAt } = ear;
  const json = {
    eat_profile: ear.profile,
    iat: ear.issuedAt,
    ...(expiresAt === undefined ? {} : { exp: expiresAt }),
    [dialect.verifier]: { developer: verifier.developer, build: verifier.build },
    ...(status === undefined ? {} : { [dialect.status]: status }),
    ...(nonces.length === 0 ? {} : { eat_nonce: nonceJson(nonces) }),
    ...(confirmationKey === undefined ? {} : { cnf: { jwk: jwkOf(confirmationKey) } }),
    ...(rawEvidence === undefined ? {} : { [dialect.rawEvidence]: toBase64Url(rawEvidence) }),
    submods: Object.fromEntries(
      [...ear.submods].map(([label, one]) => [label, appraisalJson(one, dialect)]),
    ),
  };
  return utf8(JSON.stringify(json));
}

function nonceJson(nonces: readonly Uint8Array[]): string | readonly string[] {
  const texts = nonces.map(toBase64Url);
  return texts.length === 1 ? texts[0]! : texts;
}

function appraisalJson(appraisal: EarAppraisal, dialect: Dialect): JsonObject {
  const { policyIds, vector, nonces, attestedKey, cvmp } = appraisal;
  return {
    [dialect.status]: appraisal.status,
    ...(vector === undefined ? {} : { [dialect.vector]: vector }),
    ...(policyIds.length === 0
      ? {}
      : { [dialect.policies]: dialect.policyList ? policyIds : onlyPolicy(policyIds) }),
    ...(nonces.length === 0 ? {} : { eat_nonce: nonceJson(nonces) }),
    ...(attestedKey === undefined
      ? {}
      : { [dialect.attestedKey]: { akpub: toBase64Url(attestedKey) } }),
    ...(cvmp === undefined
      ? {}
      : {
          [cvmpName]: {
            format: cvmp.format,
            level: cvmp.level,
            simulated: cvmp.simulated,
            'config-digest': toBase64Url(cvmp.configDigest),
            'launch-measurement': toBase64Url(cvmp.launchMeasurement),
          },
        }),
  };
}

const jwkCurves: Readonly<Record<EcCurve, true>> = { 'P-256': true, 'P-384': true };

/** RFC 7517, RFC 7518 s.6.2. */
function jwkOf({ curve, point }: EcPublicKey): JsonObject {
  const length = coordinateLength[curve];
  return {
    kty: 'EC',
    crv: curve,
    x: toBase64Url(point.subarray(1, 1 + length)),
    y: toBase64Url(point.subarray(1 + length)),
  };
}

function readJwk(value: unknown, field: string): EcPublicKey {
  const jwk = asObject(value, field);
  const curve = text(jwk.crv, `${field}.crv`) as EcCurve;
  if (jwk.kty !== 'EC' || !Object.hasOwn(jwkCurves, curve)) {
    throw new CvmpError('UNSUPPORTED_ALGORITHM', `${field} is not EC on P-256 or P-384`, { field });
  }
  if (jwk.d !== undefined) {
    throw new CvmpError('MALFORMED', `${field} is a private key`, { field });
  }
  const [x, y] = [jwk.x, jwk.y].map((part) => fromBase64Url(text(part, field), field));
  return ecPublicKey(curve, concat(Uint8Array.of(4), x!, y!));
}

/**
 * A JSON object as strictly as JSON can be read: UTF-8, no name twice.
 * @throws CvmpError MALFORMED
 */
export function parseJsonObject(bytes: Uint8Array, field: string): JsonObject {
  const source = fromUtf8(bytes, field);
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw new CvmpError('MALFORMED', `${field} is not JSON`, { field, cause });
  }
  const twice = firstDuplicateKey(source);
  if (twice !== undefined) {
    throw new CvmpError('MALFORMED', `${field} has ${twice} twice`, { field });
  }
  return asObject(value, field);
}

function asObject(value: unknown, field: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as JsonObject;
  }
  throw new CvmpError('MALFORMED', `${field} is not an object`, { field });
}

const text = (value: unknown, field: string, rule: Parameters<typeof asText>[2] = textRule) =>
  asText(value as CborValue, field, rule);

/** JSON has one kind of number; RFC 9711 s.4.3.1 admits whole ones only. */
function asInteger(value: unknown, field: string, rule?: { min?: number; max?: number }): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return asNumber(value, field, rule);
  throw new CvmpError('MALFORMED', `${field} is not an integer`, { field });
}

/**
 * Reads the claims of a JWT. Claims that CVMP does not know are read over, as the draft demands.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_ALGORITHM
 */
export function readClaims(bytes: Uint8Array): Ear {
  const json = parseJsonObject(bytes, 'ear');
  const profile = text(json.eat_profile, 'ear.eat_profile');
  const dialect = dialectOf(profile);
  const verifier = asObject(json[dialect.verifier], 'ear.verifier-id');
  const { exp, cnf, eat_nonce: nonce } = json;
  const status = json[dialect.status];
  const raw = json[dialect.rawEvidence];
  return checkEar({
    profile,
    issuedAt: asInteger(json.iat, 'ear.iat'),
    expiresAt: exp === undefined ? undefined : asInteger(exp, 'ear.exp'),
    verifier: {
      developer: text(verifier.developer, 'ear.verifier-id.developer'),
      build: text(verifier.build, 'ear.verifier-id.build'),
    },
    status: status === undefined ? undefined : readTier(status, 'ear.status'),
    nonces: nonce === undefined ? [] : readNonces(nonce, 'ear.eat_nonce'),
    confirmationKey:
      cnf === undefined ? undefined : readJwk(asObject(cnf, 'ear.cnf').jwk, 'ear.cnf.jwk'),
    rawEvidence: raw === undefined ? undefined : base64(raw, 'ear.raw-evidence', { max: 1 << 21 }),
    submods: new Map(
      Object.entries(asObject(json.submods, 'ear.submods')).map(([label, value]) => [
        text(label, 'ear.submods'),
        readAppraisal(asObject(value, `ear.submods.${label}`), `ear.submods.${label}`, dialect),
      ]),
    ),
  });
}

function readAppraisal(json: JsonObject, field: string, dialect: Dialect): EarAppraisal {
  const vector = json[dialect.vector];
  const policies = json[dialect.policies];
  const key = json[dialect.attestedKey];
  const cvmp = json[cvmpName];
  return {
    status: readTier(json[dialect.status], `${field}.status`),
    vector: vector === undefined ? undefined : readVector(vector, `${field}.vector`),
    policyIds: policies === undefined ? [] : readPolicies(policies, `${field}.policies`, dialect),
    nonces: json.eat_nonce === undefined ? [] : readNonces(json.eat_nonce, `${field}.eat_nonce`),
    attestedKey:
      key === undefined ? undefined : base64(asObject(key, field).akpub, `${field}.akpub`),
    cvmp: cvmp === undefined ? undefined : readCvmp(asObject(cvmp, field), `${field}.cvmp`),
  };
}

/** By name; some verifiers write the number. */
function readTier(value: unknown, field: string): Tier {
  if (typeof value === 'string' && Object.hasOwn(tierValues, value)) return value as Tier;
  const tier = typeof value === 'number' ? tierOfValue(value) : undefined;
  if (tier === undefined) throw new CvmpError('MALFORMED', `${field} is no tier`, { field });
  return tier;
}

function readVector(value: unknown, field: string): TrustVector {
  const vector: Partial<Record<TrustClaimName, number>> = {};
  for (const [name, item] of Object.entries(asObject(value, field))) {
    const known = trustClaimNames.find((one) => one === name);
    if (known === undefined) {
      throw new CvmpError('MALFORMED', `${field} has a category ${name}`, { field });
    }
    const number = asInteger(item, `${field}.${name}`, { min: -128, max: 127 });
    tierOf(number);
    vector[known] = number;
  }
  return vector;
}

function readPolicies(value: unknown, field: string, dialect: Dialect): readonly string[] {
  if (!dialect.policyList && typeof value === 'string') return [text(value, field)];
  if (Array.isArray(value) && value.length > 0 && value.length <= policiesMax) {
    return value.map((item: unknown) => text(item, field));
  }
  throw new CvmpError('MALFORMED', `${field} is no list of policies`, { field });
}

function readNonces(value: unknown, field: string): readonly Uint8Array[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (items.length === 0 || items.length > 8) {
    throw new CvmpError('SIZE', `${field} has ${items.length} elements`, { field });
  }
  return items.map((item) => {
    const nonce = base64(item, field, { max: 88 });
    if (nonce.length >= nonceRule.min && nonce.length <= nonceRule.max) return nonce;
    throw new CvmpError('SIZE', `${field} has ${nonce.length} bytes, not 8 to 64`, { field });
  });
}

/** Base64 of either alphabet: drafts and makers differ. */
function base64(value: unknown, field: string, rule: { max: number } = { max: 8192 }): Uint8Array {
  const plain = text(value, field, { min: 1, max: rule.max }).replace(/={1,2}$/, '');
  return fromBase64Url(plain.replace(/\+/g, '-').replace(/\//g, '_'), field);
}

function readCvmp(json: JsonObject, field: string): CvmpAppraisal {
  const digest = (name: string) => {
    const bytes = json[name] === '' ? new Uint8Array() : base64(json[name], `${field}.${name}`);
    if (bytes.length > 64) throw new CvmpError('SIZE', `${field}.${name} is too long`, { field });
    return bytes;
  };
  const configDigest = digest('config-digest');
  if (configDigest.length < 32) {
    throw new CvmpError('SIZE', `${field}.config-digest is too short`, { field });
  }
  return {
    format: text(json.format, `${field}.format`, { min: 1, max: 64 }),
    level: asInteger(json.level, `${field}.level`, { max: 64 }),
    simulated: asBoolean(json.simulated as CborValue, `${field}.simulated`),
    configDigest,
    launchMeasurement: digest('launch-measurement'),
  };
}
