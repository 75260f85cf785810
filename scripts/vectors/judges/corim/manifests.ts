import { readdirSync } from 'node:fs';
import { fromUtf8 } from '#core/bytes.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { parseComid, parseCorim } from '#core/corim/corim.js';
import { looksSigned, parseSignedCorim } from '#core/corim/signed.js';
import { decodeManifest, tagOf } from '#core/corim/tags.js';
import { verifySignedCorim } from '#core/corim/verify.js';
import { ecPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { parsePem } from '#core/x509/pem.js';
import { readPublicKeyInfo } from '#core/x509/public-key.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { reasonClass } from '../reason-classes.js';
import { against } from '../tpm/material.js';
import { differsFrom, parseDiagnostic } from './diagnostic.js';

/** Kind `corim-comid-cbor`: manifests and CoMIDs, what is in them, and who signed. */
export async function judgeManifests(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const files = Object.entries(asObject(folder.expected.files ?? {}, 'files'));
  const cases: CaseVerdict[] = [];
  for (const [file, item] of files) {
    const wanted = asObject(item, file);
    cases.push(...(await judgeFile(folder, file, wanted)));
    cases.push(...(await judgeNegatives(folder, wanted)));
  }
  cases.push(...(await judgeNegatives(folder, folder.expected)));
  return cases;
}

async function judgeNegatives(
  folder: CaseFolder,
  { negatives }: JsonObject,
): Promise<readonly CaseVerdict[]> {
  return Promise.all(
    asList(negatives ?? [], 'negatives').map(async (item) => {
      const negative: JsonObject = { verdict: 'reject', ...asObject(item, 'negative') };
      const file = asString(negative.file, 'negative.file');
      return against(file, negative, await outcomeOf(folder.read(file), folder, negative));
    }),
  );
}

async function judgeFile(
  folder: CaseFolder,
  file: string,
  wanted: JsonObject,
): Promise<readonly CaseVerdict[]> {
  const bytes = folder.read(file);
  const outcome = await outcomeOf(bytes, folder, wanted);
  const cases = [against(file, { verdict: 'accept', ...wanted }, outcome)];
  if (outcome !== 'accept') return cases;
  cases.push(comparison(`${file}: fields`, wanted, await factsOf(bytes, folder, wanted)));
  if (typeof wanted.diagnostic_notation === 'string') {
    const said = parseDiagnostic(fromUtf8(folder.read(wanted.diagnostic_notation)));
    const place = differsFrom(decodeManifest(sound(bytes, wanted), file), said);
    const expected = wanted.diagnostic_notation;
    const actual = place === undefined ? expected : `another value at ${place}`;
    cases.push({ name: `${file}: content`, expected, actual, asExpected: place === undefined });
  }
  return cases;
}

/** The file without what is said to follow the item. */
function sound(bytes: Uint8Array, { trailing_bytes: trailing }: JsonObject): Uint8Array {
  return typeof trailing === 'number' && trailing > 0 ? bytes.subarray(0, -trailing) : bytes;
}

/** Whether the format admits it and, where keys are beside it, whether one of them signed it. */
async function outcomeOf(
  bytes: Uint8Array,
  folder: CaseFolder,
  wanted: JsonObject,
): Promise<string> {
  try {
    const item = sound(bytes, wanted);
    if (!looksSigned(item)) {
      parseUnsigned(item);
    } else if (saysUnsound(wanted)) {
      parseSignedCorim(item);
    } else {
      await verifySigned(item, folder);
    }
    return 'accept';
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    const { code } = error;
    if (code === 'SIGNATURE_INVALID') return 'reject (signature-invalid)';
    return `reject (${reasonClass(code)})`;
  }
}

const verdictName = /^signature_verifies/;

function saysUnsound(wanted: JsonObject): boolean {
  return Object.entries(wanted).some(([name, value]) => verdictName.test(name) && value === false);
}

function parseUnsigned(bytes: Uint8Array): void {
  const value = decodeManifest(bytes, 'corim');
  const isComid =
    value instanceof Tag
      ? value.tag === tagOf.comid
      : value instanceof Map && value.get(1) instanceof Map;
  if (isComid) parseComid(bytes);
  else parseCorim(bytes);
}

/** At a time that the signature and the manifest hold at: the files are older than this. */
async function verifySigned(bytes: Uint8Array, folder: CaseFolder): Promise<void> {
  const signed = parseSignedCorim(bytes);
  const periods = [signed.corim.validity, ...signed.signers.map(({ validity }) => validity)];
  const at = Math.min(...periods.map((period) => period?.notAfter ?? Number.MAX_SAFE_INTEGER));
  const keys = publicKeys(folder);
  if (keys.length > 0) await verifySignedCorim(signed, { keys, certificates: [], at });
}

function publicKeys(folder: CaseFolder) {
  return readdirSync(folder.path)
    .filter((file) => file.endsWith('.pem'))
    .flatMap((file) => parsePem(folder.read(file)).filter(({ label }) => label === 'PUBLIC KEY'))
    .flatMap(({ der }) => {
      const key = readPublicKeyInfo(der, 'key');
      return key.kind === 'ec' ? [ecPublicKey(key.curve, key.point)] : [];
    });
}

async function factsOf(
  bytes: Uint8Array,
  folder: CaseFolder,
  wanted: JsonObject,
): Promise<JsonObject> {
  const item = sound(bytes, wanted);
  const value = decodeManifest(item, 'corim');
  const facts: JsonObject = {
    bytes: bytes.length,
    trailing_bytes: bytes.length - item.length,
    outer_tag: value instanceof Tag ? value.tag : null,
    top_level_keys: inOrderOf(wanted.top_level_keys, keysOf(value)),
  };
  if (!looksSigned(item)) return facts;
  const signed = parseSignedCorim(item);
  const payload = decodeManifest(signed.payload, 'payload');
  const { top_level_keys: _, ...outer } = facts;
  return {
    ...outer,
    cose_sign1_alg: signed.alg ?? null,
    content_type: signed.contentType,
    payload_tag: payload instanceof Tag ? payload.tag : null,
    payload_keys: keysOf(payload),
    ...(await signatureFacts(item, folder, wanted)),
  };
}

function keysOf(value: CborValue): readonly number[] {
  const map = value instanceof Tag ? value.value : value;
  if (!(map instanceof Map)) return [];
  return [...map.keys()].map(Number).sort((a, b) => a - b);
}

/** The same keys in the order in which they are expected: a map has none. */
function inOrderOf(wanted: Json | undefined, keys: readonly number[]): readonly number[] {
  const order = Array.isArray(wanted) ? wanted : [];
  return [...keys].sort((a, b) => order.indexOf(a) - order.indexOf(b));
}

/** Under every key of the folder: a name says only which one it was. */
async function signatureFacts(
  bytes: Uint8Array,
  folder: CaseFolder,
  wanted: JsonObject,
): Promise<JsonObject> {
  const asked = Object.keys(wanted).filter((name) => verdictName.test(name));
  const verifies = await verifySigned(bytes, folder).then(
    () => true,
    () => false,
  );
  return Object.fromEntries(asked.map((name) => [name, verifies]));
}
