import { equalBytes, fromHex } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { aeadAlgorithms, signatureAlgorithms } from '#core/cose/algorithms.js';
import { openEncrypt0, parseEncrypt0 } from '#core/cose/encrypt0.js';
import { algOf, type CoseHeaders, headerOf, label, readHeaders } from '#core/cose/headers.js';
import { type EcPublicKey, ecPublicKey } from '#core/cose/key.js';
import { coseTag, messageElements } from '#core/cose/message.js';
import { parseSign, verifySignature } from '#core/cose/sign.js';
import { parseSign1, verifySign1 } from '#core/cose/sign1.js';
import { crypto } from '#crypto';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../judge.js';
import * as node from '../primitives.js';
import {
  aeadRows,
  bytesMember,
  jwkOf,
  keyMember,
  macRows,
  publicJwk,
  signatureRows,
} from './cose-algorithms.js';
import { contentKey, type Recipient } from './cose-recipients.js';

/**
 * The COSE working group's examples. A file that is marked fail must be refused; any other must
 * verify or open, and give the plaintext that it states. Where CVMP has the algorithm, its own code
 * judges; the rest is judged by Node's primitives over the structures parsed by CVMP.
 */
export async function judgeCoseWgExamples(folder: CaseFolder): Promise<CaseVerdict[]> {
  const verdicts: CaseVerdict[] = [];
  for (const [name, stated] of Object.entries(asObject(folder.expected.files, 'files'))) {
    if (!folder.has(name)) {
      verdicts.push({ name, expected: 'a file', actual: 'missing', asExpected: false });
      continue;
    }
    const example = asObject(folder.readJson(name), name);
    const markedFail = asObject(stated, name).marked_fail ?? example.fail;
    const expected = markedFail === true ? 'refused' : 'accepted';
    const actual = await judgeExample(example);
    verdicts.push({ name, expected, actual, asExpected: actual.startsWith(expected) });
  }
  return verdicts;
}

async function judgeExample(example: JsonObject): Promise<string> {
  try {
    const input = asObject(example.input, 'input');
    const message = fromHex(asString(asObject(example.output, 'output').cbor, 'cbor'));
    const kind = Object.keys(openers).find((name) => input[name] !== undefined);
    if (kind === undefined) throw new Error('no known structure');
    const plaintext = bytesMember(input, 'plaintext') ?? new Uint8Array();
    const content = await openers[kind]!(message, asObject(input[kind], kind), plaintext);
    return equalBytes(content, plaintext) ? 'accepted' : 'refused: another plaintext';
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

/** Opens one structure; `plaintext` stands in for a detached payload. */
type Opener = (
  message: Uint8Array,
  input: JsonObject,
  plaintext: Uint8Array,
) => Promise<Uint8Array> | Uint8Array;

const openers: Readonly<Record<string, Opener>> = {
  sign0: openSign0,
  sign: openSign,
  encrypted: (message, input) => openEncrypted(message, input),
  enveloped: openEnveloped,
  mac0: (message, input, plaintext) => openMac(message, input, plaintext, 'mac0'),
  mac: (message, input, plaintext) => openMac(message, input, plaintext, 'mac'),
};

// The examples are neither sorted nor always tagged.
const foreign = { canonical: false, tag: 'optional' } as const;

function externalOf(input: JsonObject): Uint8Array {
  return typeof input.external === 'string' ? fromHex(input.external) : new Uint8Array();
}

async function openSign0(message: Uint8Array, input: JsonObject, plaintext: Uint8Array) {
  const parsed = parseSign1(message, foreign);
  const externalAad = externalOf(input);
  const jwk = jwkOf(keyMember(input));
  const alg = algOf(parsed.headers, 'either');
  const own = ownKey(alg, jwk);
  if (own !== undefined) {
    const rules = {
      externalAad,
      algFrom: 'either' as const,
      ...(parsed.payload === null ? { detachedPayload: plaintext } : {}),
    };
    return verifySign1(parsed, own, rules);
  }
  const payload = parsed.payload ?? plaintext;
  const signed = encode(['Signature1', parsed.headers.protectedBytes, externalAad, payload]);
  demandSignature(alg, jwk, parsed.signature, signed);
  return payload;
}

/** COSE_Sign: every signature must verify. */
async function openSign(message: Uint8Array, input: JsonObject, plaintext: Uint8Array) {
  const parsed = parseSign(message, foreign);
  const signers = asList(input.signers, 'signers').map((s) => asObject(s, 'signer'));
  if (parsed.signatures.length !== signers.length) throw new Error('another count of signatures');
  for (const [i, signer] of signers.entries()) {
    const { headers, signature } = parsed.signatures[i]!;
    const externalAad = externalOf(signer);
    const jwk = jwkOf(keyMember(signer));
    const alg = algOf(headers, 'either');
    const own = ownKey(alg, jwk);
    if (own !== undefined) {
      const detached = parsed.payload === null ? { detachedPayload: plaintext } : {};
      const rules = { externalAad, algFrom: 'either' as const, ...detached };
      await verifySignature(parsed, parsed.signatures[i]!, own, rules);
      continue;
    }
    const signed = encode([
      'Signature',
      parsed.headers.protectedBytes,
      headers.protectedBytes,
      externalAad,
      parsed.payload ?? plaintext,
    ]);
    demandSignature(alg, jwk, signature, signed);
  }
  return parsed.payload ?? plaintext;
}

/** The key where CVMP has the algorithm on its curve. */
function ownKey(alg: number | string | undefined, jwk: node.Jwk): EcPublicKey | undefined {
  const own = signatureAlgorithms.find((row) => row.id === alg && row.curve === jwk.crv);
  if (own === undefined) return undefined;
  const der = node.publicKeyOf(publicJwk(jwk)).export({ format: 'der', type: 'spki' });
  const length = own.curve === 'P-256' ? 65 : 97;
  return ecPublicKey(own.curve, new Uint8Array(der.subarray(der.length - length)));
}

function demandSignature(
  alg: number | string | undefined,
  jwk: node.Jwk,
  signature: Uint8Array,
  signed: Uint8Array,
): void {
  const row = signatureRows.get(Number(alg));
  if (row === undefined) throw new Error(`signature algorithm ${alg}`);
  const key = node.publicKeyOf(publicJwk(jwk));
  const input =
    row.pssSalt === undefined
      ? { key, dsaEncoding: 'ieee-p1363' as const }
      : { key, padding: 6, saltLength: row.pssSalt };
  if (!node.signatureVerifies(row.hash, input, signature, signed)) {
    throw new Error('the signature does not verify');
  }
}

function openEncrypted(message: Uint8Array, input: JsonObject): Uint8Array {
  const parsed = parseEncrypt0(message, foreign);
  const [recipient] = asList(input.recipients, 'recipients');
  const key = contentKey(direct(asObject(recipient, 'recipient')), algorithmOf(parsed.headers));
  return openContent('Encrypt0', parsed.headers, parsed.ciphertext, key, input);
}

/** COSE_Encrypt0 and COSE_Mac0 name their key outside: directly. */
function direct(example: JsonObject): Recipient {
  const headers = readHeaders(new Uint8Array(), new Map([[label.alg, -6]]));
  return { headers, ciphertext: new Uint8Array(), example };
}

function openEnveloped(message: Uint8Array, input: JsonObject): Uint8Array {
  const elements = messageElements(message, coseTag.encrypt, 4, 'COSE_Encrypt', foreign);
  const headers = readHeaders(elements[0], elements[1], foreign);
  const ciphertext = asBytes(elements[2], 'ciphertext');
  const keys = recipientsOf(elements[3], input).map((r) => contentKey(r, algorithmOf(headers)));
  const opened = keys.map((key) => openContent('Encrypt', headers, ciphertext, key, input));
  return opened[0]!;
}

function recipientsOf(value: CborValue | undefined, input: JsonObject): Recipient[] {
  const examples = asList(input.recipients, 'recipients');
  return asArray(value, 'recipients', { length: examples.length, min: 1 }).map((item, i) => {
    const [bucket, unprotected, ciphertext] = asArray(item, 'recipient', { min: 3, max: 4 });
    return {
      headers: readHeaders(bucket, unprotected, foreign),
      ciphertext: asBytes(ciphertext, 'ciphertext'),
      example: asObject(examples[i], 'recipient'),
    };
  });
}

function algorithmOf(headers: CoseHeaders): number {
  return Number(algOf(headers, 'either'));
}

function openContent(
  context: 'Encrypt' | 'Encrypt0',
  headers: CoseHeaders,
  ciphertext: Uint8Array,
  key: Uint8Array,
  input: JsonObject,
): Uint8Array {
  const externalAad = externalOf(input);
  const alg = algorithmOf(headers);
  const sentIv = headerOf(headers, label.iv);
  const own = context === 'Encrypt0' && aeadAlgorithms.some((r) => r.id === alg);
  if (own && sentIv !== undefined) {
    return openEncrypt0({ headers, ciphertext }, key, { externalAad, algFrom: 'either' });
  }
  const row = aeadRows.get(alg);
  if (row === undefined) throw new Error(`content encryption algorithm ${alg}`);
  return node.aeadOpen({
    cipher: row.cipher,
    key,
    iv: ivOf(headers, input, row.iv),
    aad: encode([context, headers.protectedBytes, externalAad]),
    sealed: ciphertext,
    tagLength: row.tag,
  });
}

/** The IV as sent; otherwise the example states the whole IV that both sides know. */
function ivOf(headers: CoseHeaders, input: JsonObject, length: number): Uint8Array {
  const sent = headerOf(headers, label.iv);
  if (sent !== undefined) return asBytes(sent, 'iv', { length });
  const unsent = asObject(input.unsent ?? {}, 'unsent');
  const whole = bytesMember(unsent, 'IV');
  if (whole === undefined) throw new Error('no iv');
  return whole;
}

function openMac(
  message: Uint8Array,
  input: JsonObject,
  plaintext: Uint8Array,
  kind: 'mac' | 'mac0',
): Uint8Array {
  const length = kind === 'mac' ? 5 : 4;
  const elements = messageElements(message, coseTag[kind], length, 'COSE_Mac', foreign);
  const headers = readHeaders(elements[0], elements[1], foreign);
  const payload = elements[2] === null ? plaintext : asBytes(elements[2], 'payload');
  const tag = asBytes(elements[3], 'tag');
  const alg = algorithmOf(headers);
  const row = macRows.get(alg);
  if (row === undefined) throw new Error(`MAC algorithm ${alg}`);
  const recipients =
    kind === 'mac'
      ? recipientsOf(elements[4], input)
      : asList(input.recipients, 'recipients').map((r) => direct(asObject(r, 'recipient')));
  const context = kind === 'mac' ? 'MAC' : 'MAC0';
  const data = encode([context, headers.protectedBytes, externalOf(input), payload]);
  for (const recipient of recipients) {
    const key = contentKey(recipient, alg);
    if (!equalBytes(macOf(row, key, data), tag)) throw new Error('the MAC does not verify');
  }
  return payload;
}

function macOf(row: { hash: string | null; tag: number }, key: Uint8Array, data: Uint8Array) {
  if (row.hash === null) return node.aesCbcMac(key, data, row.tag);
  if (row.hash === 'sha256' || row.hash === 'sha384' || row.hash === 'sha512') {
    return crypto.hmac(row.hash, key, data).subarray(0, row.tag);
  }
  return node.hmac(row.hash, key, data).subarray(0, row.tag);
}
