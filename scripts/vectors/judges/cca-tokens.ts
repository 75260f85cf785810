import { readDer } from '#core/asn1/read.js';
import { toHex } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import type { CborValue } from '#core/cbor/value.js';
import { encodePlatformKey, platformKeyType } from '#core/cca/endorsement.js';
import { type CcaToken, parseCcaToken } from '#core/cca/token.js';
import { verifyCcaToken } from '#core/cca/verify.js';
import { algOf } from '#core/cose/headers.js';
import { ecPublicKey } from '#core/cose/key.js';
import type { CoseSign1 } from '#core/cose/sign1.js';
import { CvmpError } from '#core/errors.js';
import type { Endorsements } from '#core/rats/endorsements.js';
import { parsePem } from '#core/x509/pem.js';
import { readPublicKey } from '#core/x509/public-key.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../judge.js';
import { comparison } from './compare.js';
import { reasonClass } from './reason-classes.js';

const tokenFile = 'token.cbor';

/** Kind `arm-cca-token`: a token, its platform key, and files derived from it. */
export async function judgeCcaToken(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const token = parseCcaToken(folder.read(tokenFile));
  const endorsements = endorsementsOf(token, folder.read('platform_key.pem'));
  const cases = [
    comparison(`${tokenFile}: claims`, expected, fieldsJson(token)),
    comparison(`${tokenFile}: realm key`, realmKey(folder), {
      spki: toHex(token.realm.claims.publicKey.spki),
    }),
  ];
  const judge = async (file: string, wanted: JsonObject) => {
    const outcome = await outcomeOf(folder.read(file), endorsements);
    const verdict = asString(wanted.verdict, 'verdict');
    const reason = wanted.reason_class;
    const stated =
      verdict === 'reject' && typeof reason === 'string' ? `reject (${reason})` : verdict;
    const asExpected = outcome === stated || (stated === 'reject' && outcome.startsWith(stated));
    cases.push({ name: file, expected: stated, actual: outcome, asExpected });
  };
  await judge(tokenFile, expected);
  for (const item of asList(expected.negatives ?? [], 'negatives')) {
    const negative = asObject(item, 'negative');
    await judge(asString(negative.file, 'negative.file'), negative);
  }
  return cases;
}

async function outcomeOf(bytes: Uint8Array, endorsements: Endorsements): Promise<string> {
  try {
    await verifyCcaToken(parseCcaToken(bytes), endorsements);
    return 'accept';
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return `reject (${reasonClass(error.code)})`;
  }
}

/** The key file, endorsed for the platform that the sound token names. */
function endorsementsOf({ platform }: CcaToken, pem: Uint8Array): Endorsements {
  const { implementationId, instanceId } = platform.claims;
  const key = publicKeyIn(pem);
  const value = encodePlatformKey({
    implementationId,
    instanceId,
    key,
    endorser: 'vectors',
    simulated: false,
  });
  return { certificates: [], crls: [], documents: [{ mediaType: platformKeyType, value }] };
}

function publicKeyIn(pem: Uint8Array) {
  const [block] = parsePem(pem);
  if (block?.label !== 'PUBLIC KEY') throw new Error('no public key in the PEM file');
  // A SubjectPublicKeyInfo stands inside of another element where core reads it.
  const wrapped = Uint8Array.of(0x30, block.der.length, ...block.der);
  const { key } = readDer(wrapped, 'platform_key', readPublicKey);
  if (key.kind !== 'ec') throw new Error('the platform key is on no curve');
  return ecPublicKey(key.curve, key.point);
}

function realmKey(folder: CaseFolder): JsonObject {
  const file = 'realm_key.pem';
  return folder.has(file) ? { spki: toHex(publicKeyIn(folder.read(file)).spki) } : {};
}

function fieldsJson({ platform, realm }: CcaToken): JsonObject {
  const { publicKeyBytes } = realm.claims;
  return {
    // A token that parsed has the tag, both members, and nothing behind it.
    outer_tag: 399,
    trailing_bytes: 0,
    collection_keys: [44234, 44241],
    platform_claims: {
      ...claimsJson(platform.message),
      10: toHex(platform.claims.challenge),
      256: toHex(platform.claims.instanceId),
      2395: platform.claims.lifecycle,
      2396: toHex(platform.claims.implementationId),
      2401: toHex(platform.claims.config),
    },
    realm_claims: {
      ...claimsJson(realm.message),
      10: toHex(realm.claims.challenge),
      44235: toHex(realm.claims.personalizationValue),
      44237: toHex(publicKeyBytes),
      44238: toHex(realm.claims.initialMeasurement),
      44239: realm.claims.extensibleMeasurements.map(toHex),
    },
    realm_key_encoding:
      publicKeyBytes[0] === 4
        ? 'raw SEC1 uncompressed point (97 bytes)'
        : 'COSE_Key in a byte string',
    realm_alg: algOf(realm.message.headers, 'protected') ?? null,
    platform_alg: algOf(platform.message.headers, 'protected') ?? null,
  };
}

/** All claims of a part, known to core or not. */
function claimsJson({ payload }: CoseSign1): JsonObject {
  return asObject(json(decode(payload ?? new Uint8Array(), { canonical: false })), 'claims');
}

function json(value: CborValue): Json {
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(json);
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, item]) => [String(key), json(item)]));
  }
  return typeof value === 'bigint' ? String(value) : (value as Json);
}
