import { constants } from 'node:crypto';
import { concat, fromHex, toBase64Url, toHex } from '#core/bytes.js';
import { coordinateLength, type EcCurve, type HashName } from '#core/crypto.js';
import { hkdfExpand, hkdfExtract } from '#core/hkdf.js';
import { crypto } from '#crypto';
import { asObject, asString, type JsonObject } from '../judge.js';
import * as node from '../primitives.js';

/** What a primitive computed, and what the test says. */
export interface Computed {
  readonly actual: Uint8Array;
  /** Hex. */
  readonly expected: string;
}

/** Runs one test: verified or not, or a result to compare. Throws where it refuses the input. */
export type Primitive = (test: JsonObject) => Promise<boolean | Computed> | boolean | Computed;

const hex = (object: JsonObject, key: string) => fromHex(asString(object[key], key), key);
const hashOf = (group: JsonObject) => opensslHash(asString(group.sha, 'sha'));

/** SHA-256, SHA256, SHA-512/256, SHA3-256: OpenSSL's names. */
function opensslHash(name: string): string {
  const plain = name.toLowerCase();
  return plain.startsWith('sha3-') ? plain : plain.replace('sha-', 'sha').replace('/', '-');
}

/** The primitive for one test group, by CVMP's own crypto wherever it has it. */
export function primitive(
  type: string,
  algorithm: string,
  group: JsonObject,
): Primitive | undefined {
  return table[type]?.(algorithm, group);
}

type Maker = (algorithm: string, group: JsonObject) => Primitive | undefined;

const table: Readonly<Record<string, Maker>> = {
  AeadTest: aead,
  EcdsaVerify: (_, group) => ecdsa(group, 'der'),
  EcdsaP1363Verify: (_, group) => ecdsa(group, 'ieee-p1363'),
  EddsaVerify: (_, group) => eddsa(group),
  RsassaPkcs1Verify: (_, group) => rsa(group, constants.RSA_PKCS1_PADDING),
  RsassaPssVerify: (_, group) =>
    group.mgfSha === group.sha ? rsa(group, constants.RSA_PKCS1_PSS_PADDING) : undefined,
  HkdfTest: hkdf,
  MacTest: mac,
  XdhComp: xdh,
  EcdhTest: (_, group) => ecdh(group, 'asn'),
  EcdhEcpointTest: (_, group) => ecdh(group, 'ecpoint'),
  KeywrapTest: keyWrap,
  IndCpaTest: (algorithm) =>
    algorithm.startsWith('AES-CBC')
      ? (test) => ({
          actual: node.aesCbcOpen(hex(test, 'key'), hex(test, 'iv'), hex(test, 'ct')),
          expected: asString(test.msg, 'msg'),
        })
      : undefined,
};

function aead(algorithm: string, group: JsonObject): Primitive | undefined {
  const tagLength = Number(group.tagSize) / 8;
  const ours = algorithm === 'AES-GCM' && group.ivSize === 96 && tagLength === 16;
  const ciphers: Record<string, node.AeadInput['cipher']> = {
    'AES-GCM': 'gcm',
    'AES-CCM': 'ccm',
    'CHACHA20-POLY1305': 'chacha20-poly1305',
  };
  const cipher = ciphers[algorithm];
  if (cipher === undefined && algorithm !== 'XCHACHA20-POLY1305') return undefined;
  return (test) => {
    const [key, iv, aad] = [hex(test, 'key'), hex(test, 'iv'), hex(test, 'aad')];
    const sealed = concat(hex(test, 'ct'), hex(test, 'tag'));
    const open = () => {
      if (cipher === undefined) return crypto.xchachaOpen(key, iv, sealed, aad);
      if (ours) return crypto.aesGcmOpen(key, iv, sealed, aad);
      return node.aeadOpen({ cipher, key, iv, aad, sealed, tagLength });
    };
    return { actual: open(), expected: asString(test.msg, 'msg') };
  };
}

function publicKeyDer(group: JsonObject): Uint8Array {
  return fromHex(asString(group.publicKeyDer ?? group.keyDer, 'publicKeyDer'));
}

const curveOf: Readonly<Record<string, EcCurve>> = { secp256r1: 'P-256', secp384r1: 'P-384' };
const ownHash: Record<EcCurve, string> = { 'P-256': 'sha256', 'P-384': 'sha384' };

function ecdsa(group: JsonObject, dsaEncoding: 'der' | 'ieee-p1363'): Primitive {
  const der = publicKeyDer(group);
  const hash = hashOf(group);
  const curve = curveOf[asString(asObject(group.publicKey, 'publicKey').curve, 'curve')];
  if (dsaEncoding === 'ieee-p1363' && curve !== undefined && ownHash[curve] === hash) {
    const algorithm = curve === 'P-256' ? 'ES256' : 'ES384';
    return (test) => crypto.verify(algorithm, der, hex(test, 'sig'), hex(test, 'msg'));
  }
  const key = node.publicKeyOf(der);
  return (test) =>
    node.signatureVerifies(hash, { key, dsaEncoding }, hex(test, 'sig'), hex(test, 'msg'));
}

function eddsa(group: JsonObject): Primitive {
  const key = node.publicKeyOf(publicKeyDer(group));
  return (test) => node.signatureVerifies(null, { key }, hex(test, 'sig'), hex(test, 'msg'));
}

function rsa(group: JsonObject, padding: number): Primitive {
  const key = node.publicKeyOf(publicKeyDer(group));
  const saltLength = group.sLen === undefined ? {} : { saltLength: Number(group.sLen) };
  const input = { key, padding, ...saltLength };
  return (test) => node.signatureVerifies(hashOf(group), input, hex(test, 'sig'), hex(test, 'msg'));
}

function hkdf(algorithm: string): Primitive {
  const hash = opensslHash(algorithm.replace('HKDF-', ''));
  const ours = ['sha256', 'sha384', 'sha512'].includes(hash);
  return (test) => {
    const [ikm, salt, info] = [hex(test, 'ikm'), hex(test, 'salt'), hex(test, 'info')];
    const length = Number(test.size);
    const own = hash as HashName;
    const actual = ours
      ? hkdfExpand(own, hkdfExtract(own, salt, ikm), info, length)
      : node.hkdf(hash, ikm, salt, info, length);
    return { actual, expected: asString(test.okm, 'okm') };
  };
}

function mac(algorithm: string, group: JsonObject): Primitive | undefined {
  const match = /^HMAC-?(SHA.*)$/.exec(algorithm);
  if (match === null) return undefined;
  const hash = opensslHash(match[1]!);
  const ours = ['sha256', 'sha384', 'sha512'].includes(hash);
  return (test) => {
    const [key, msg] = [hex(test, 'key'), hex(test, 'msg')];
    const whole = ours ? crypto.hmac(hash as HashName, key, msg) : node.hmac(hash, key, msg);
    return toHex(whole.subarray(0, Number(group.tagSize) / 8)) === test.tag;
  };
}

function xdh(_: string, group: JsonObject): Primitive | undefined {
  const names: Record<string, string> = { curve25519: 'X25519', curve448: 'X448' };
  const crv = names[asString(group.curve, 'curve')];
  if (crv === undefined) return undefined;
  return (test) => {
    const x = toBase64Url(hex(test, 'public'));
    const d = toBase64Url(hex(test, 'private'));
    const actual = node.agree(
      // Node wants a public part in the private key; it does not enter the agreement.
      node.privateKeyOf({ kty: 'OKP', crv, x, d }),
      node.publicKeyOf({ kty: 'OKP', crv, x }),
    );
    return { actual, expected: asString(test.shared, 'shared') };
  };
}

function ecdh(group: JsonObject, encoding: 'asn' | 'ecpoint'): Primitive | undefined {
  const curve = curveOf[asString(group.curve, 'curve')];
  if (curve === undefined) return undefined;
  const length = coordinateLength[curve];
  return async (test) => {
    const bytes = hex(test, 'public');
    const point = encoding === 'ecpoint' ? bytes : pointOf(bytes, length);
    const key = await crypto.importEcKey(ecPkcs8(curve, hex(test, 'private')));
    return { actual: await crypto.ecdh(key, point), expected: asString(test.shared, 'shared') };
  };
}

/** The point of a SubjectPublicKeyInfo, by way of Node's strict import. */
function pointOf(spki: Uint8Array, length: number): Uint8Array {
  const jwk = node.publicKeyOf(spki).export({ format: 'jwk' });
  const part = (text: string | undefined) => Buffer.from(text ?? '', 'base64url');
  const point = concat(new Uint8Array([4]), part(jwk.x), part(jwk.y));
  if (point.length !== 1 + 2 * length) throw new RangeError('another curve');
  return point;
}

/** PrivateKeyInfo around a private scalar of any length, without the public point. */
function ecPkcs8(curve: EcCurve, scalar: Uint8Array): Uint8Array {
  const length = coordinateLength[curve];
  const d = new Uint8Array(length);
  const significant = scalar.subarray(Math.max(0, scalar.length - length));
  d.set(significant, length - significant.length);
  const oid = curve === 'P-256' ? '06082a8648ce3d030107' : '06052b81040022';
  const tlv = (tag: number, ...parts: Uint8Array[]) =>
    concat(new Uint8Array([tag, parts.reduce((n, p) => n + p.length, 0)]), ...parts);
  return tlv(
    0x30,
    fromHex('020100'),
    tlv(0x30, fromHex('06072a8648ce3d0201'), fromHex(oid)),
    tlv(0x04, tlv(0x30, fromHex('020101'), tlv(0x04, d))),
  );
}

function keyWrap(algorithm: string): Primitive | undefined {
  const padded = ['AES-KWP', 'KWP', 'AES-WRAP-PAD'].includes(algorithm);
  if (!padded && !['AES-WRAP', 'KW', 'AES-KW'].includes(algorithm)) return undefined;
  return (test) => ({
    actual: node.aesUnwrap(hex(test, 'key'), hex(test, 'ct'), padded),
    expected: asString(test.msg, 'msg'),
  });
}
