import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPair,
  generateKeyPairSync,
  hash as hashOnce,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
  publicEncrypt,
  randomBytes,
  type SignKeyObjectInput,
  type VerifyKeyObjectInput,
} from 'node:crypto';
import { promisify } from 'node:util';
import { hchacha } from '@noble/ciphers/chacha.js';
import { concat, equalBytes } from './bytes.js';
import {
  type Crypto,
  coordinateLength,
  type EcCurve,
  type EcPrivateKey,
  ecSpki,
  type SignatureAlgorithm,
} from './crypto.js';
import { CvmpError } from './errors.js';

const nativeCurve: Record<EcCurve, string> = { 'P-256': 'prime256v1', 'P-384': 'secp384r1' };
const hashOfCurve: Record<EcCurve, string> = { 'P-256': 'sha256', 'P-384': 'sha384' };

/** All that is known about each algorithm. */
const algorithms: Record<
  SignatureAlgorithm,
  { readonly hash: string; readonly curve?: EcCurve; readonly saltLength?: number }
> = {
  ES256: { hash: 'sha256', curve: 'P-256' },
  ES384: { hash: 'sha384', curve: 'P-384' },
  PS256: { hash: 'sha256', saltLength: 32 },
  PS384: { hash: 'sha384', saltLength: 48 },
  RS256: { hash: 'sha256' },
  RS384: { hash: 'sha384' },
};

const generateKeyPairAsync = promisify(generateKeyPair);
const tagLength = 16;

/**
 * Lets whatever else waits run before this goes on. A thread of the pool costs as much to wake as a
 * check on P-256 takes, so what is that quick is done at once and then gives its turn away.
 */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
/** Hashing more than this is not quick, bytes. */
const quickBytesMax = 64 * 1024;
const isQuickCurve = (curve: EcCurve | undefined) => curve !== 'P-384';

// Importing a public key costs as much as verifying by it: OpenSSL checks the point.
const imported = new WeakMap<Uint8Array, KeyObject>();
/** Keys that verified something, by their bytes; each is less than a kilobyte. */
const proven = new Map<string, KeyObject>();
const isProven = new WeakSet<KeyObject>();
const provenMax = 1024;

function publicKey(spki: Uint8Array): KeyObject | undefined {
  let key = imported.get(spki) ?? proven.get(nameOf(spki));
  if (key === undefined) {
    try {
      key =
        p256Key(spki) ?? createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    } catch {
      return undefined;
    }
  }
  imported.set(spki, key);
  return key;
}

/** First in, first out. */
function rememberKey(spki: Uint8Array, key: KeyObject): void {
  if (isProven.has(key)) return;
  isProven.add(key);
  proven.set(nameOf(spki), key);
  for (const oldest of proven.keys()) {
    if (proven.size <= provenMax) break;
    proven.delete(oldest);
  }
}

const nameOf = (spki: Uint8Array) =>
  Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString('latin1');

/** P-256 by way of JWK: OpenSSL reads that in a third of the time (and P-384 in three times). */
function p256Key(spki: Uint8Array): KeyObject | undefined {
  const point = spki.subarray(-65);
  if (spki.length !== 91 || !equalBytes(spki, ecSpki('P-256', point))) return undefined;
  const part = (from: number) => Buffer.from(point.subarray(from, from + 32)).toString('base64url');
  const key = { kty: 'EC', crv: 'P-256', x: part(1), y: part(33) };
  return point[0] === 4 ? createPublicKey({ key, format: 'jwk' }) : undefined;
}

function verifyInput(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
): VerifyKeyObjectInput | undefined {
  const row = algorithms[algorithm];
  if (row.curve !== undefined) {
    return curveOf(key) === row.curve ? { key, dsaEncoding: 'ieee-p1363' } : undefined;
  }
  if (key.asymmetricKeyType !== 'rsa') return undefined;
  return row.saltLength === undefined
    ? { key, padding: constants.RSA_PKCS1_PADDING }
    : { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: row.saltLength };
}

function native(key: EcPrivateKey): KeyObject {
  return key.native as KeyObject;
}

// Node asks OpenSSL anew each time, which takes as long as ten hashes.
const curves = new WeakMap<KeyObject, EcCurve | undefined>();

function curveOf(key: KeyObject): EcCurve | undefined {
  if (curves.has(key)) return curves.get(key);
  const name = key.asymmetricKeyDetails?.namedCurve;
  const curve = (Object.keys(nativeCurve) as EcCurve[]).find((c) => nativeCurve[c] === name);
  curves.set(key, curve);
  return curve;
}

function ecPrivateKey(key: KeyObject): EcPrivateKey {
  const curve = curveOf(key);
  if (curve === undefined) {
    throw new CvmpError('MALFORMED', 'the private key is not on P-256 or P-384');
  }
  // As JWK: a twentieth of the time of DER.
  const { x, y } = createPublicKey(key).export({ format: 'jwk' });
  const part = (text: string | undefined) => Buffer.from(text ?? '', 'base64url');
  const publicPoint = concat(new Uint8Array([4]), part(x), part(y));
  return { curve, publicPoint, native: key };
}

function open(what: string, body: () => Uint8Array): Uint8Array {
  try {
    return body();
  } catch (cause) {
    throw new CvmpError('DECRYPT_FAILED', `${what} does not open`, { cause });
  }
}

/** Parts that are cheaper to copy than to hash one by one; undefined where they are not. */
function copiedTogether(parts: readonly Uint8Array[]): Uint8Array | undefined {
  let length = 0;
  for (const part of parts) length += part.length;
  return length <= 4096 ? concat(...parts) : undefined;
}

function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The same memory, not a copy: who overwrites a secret overwrites it. */
const plain = (fresh: Buffer) =>
  new Uint8Array(fresh.buffer as ArrayBuffer, fresh.byteOffset, fresh.byteLength);

const gcm = (key: Uint8Array) => `aes-${key.length * 8}-gcm` as 'aes-256-gcm';

const chacha = 'chacha20-poly1305';
/** "expand 32-byte k" */
const sigma = new Uint32Array([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);

/**
 * XChaCha20-Poly1305 is ChaCha20-Poly1305 under HChaCha20 of the key and the first 16 bytes of the
 * nonce (draft-irtf-cfrg-xchacha s.2.3). Node has the one, noble the other; together they cost a
 * fifth of noble alone for a block of audit entries.
 */
function xchachaKey(key: Uint8Array, nonce: Uint8Array): readonly [Uint8Array, Uint8Array] {
  if (key.length !== 32 || nonce.length !== 24) {
    throw new TypeError('XChaCha20-Poly1305 takes a key of 32 and a nonce of 24 bytes');
  }
  const words = new Uint32Array(8);
  const keyWords = littleEndian(key, 8);
  hchacha(sigma, keyWords, littleEndian(nonce, 4), words);
  keyWords.fill(0);
  const subkey = new Uint8Array(32);
  for (let i = 0; i < 32; i++) subkey[i] = words[i >> 2]! >>> (8 * (i & 3));
  words.fill(0);
  const iv = new Uint8Array(12);
  iv.set(nonce.subarray(16), 4);
  return [subkey, iv];
}

function littleEndian(bytes: Uint8Array, count: number): Uint32Array {
  const words = new Uint32Array(count);
  for (let i = 0; i < 4 * count; i++) words[i >> 2]! |= bytes[i]! << (8 * (i & 3));
  return words;
}

export const crypto: Crypto = {
  turn,

  randomBytes: (length) => plain(randomBytes(length)),

  hash(name, ...parts) {
    const [only] = parts;
    const whole = parts.length === 1 ? only : copiedTogether(parts);
    // Node's one-shot form costs a quarter of the object, and its text half of its Buffer.
    if (whole !== undefined) return fromLatin1(hashOnce(name, whole, 'binary'));
    const h = createHash(name);
    for (const part of parts) h.update(part);
    return plain(h.digest());
  },

  extend(name, both) {
    const text = hashOnce(name, both, 'binary');
    for (let i = 0; i < text.length; i++) both[i] = text.charCodeAt(i);
  },

  hmac(name, key, ...parts) {
    const h = createHmac(name, key instanceof Uint8Array ? key : (key.native as KeyObject));
    for (const part of parts) h.update(part);
    return plain(h.digest());
  },

  // Outside of the JavaScript heap, and overwritten when it is collected.
  hmacKey: (key) => ({ native: createSecretKey(key) }),

  aesGcmSeal(key, iv, plaintext, aad) {
    const cipher = createCipheriv(gcm(key), key, iv, { authTagLength: tagLength });
    cipher.setAAD(aad);
    const body = cipher.update(plaintext);
    cipher.final();
    const out = new Uint8Array(body.length + tagLength);
    out.set(body);
    out.set(cipher.getAuthTag(), body.length);
    return out;
  },

  aesGcmOpen(key, iv, sealed, aad) {
    return open('the AES-GCM ciphertext', () => {
      if (sealed.length < tagLength) throw new RangeError('shorter than its tag');
      const at = sealed.length - tagLength;
      const decipher = createDecipheriv(gcm(key), key, iv, { authTagLength: tagLength });
      decipher.setAAD(aad);
      decipher.setAuthTag(sealed.subarray(at));
      const body = decipher.update(sealed.subarray(0, at));
      decipher.final();
      return plain(body);
    });
  },

  aesCfbEncrypt(key, iv, plaintext) {
    const cipher = createCipheriv(`aes-${key.length * 8}-cfb`, key, iv);
    return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final()]));
  },

  xchachaSeal(key, nonce, plaintext, aad) {
    const [subkey, iv] = xchachaKey(key, nonce);
    const cipher = createCipheriv(chacha, subkey, iv, { authTagLength: tagLength });
    subkey.fill(0);
    cipher.setAAD(aad, { plaintextLength: plaintext.length });
    const body = cipher.update(plaintext);
    cipher.final();
    const out = new Uint8Array(body.length + tagLength);
    out.set(body);
    out.set(cipher.getAuthTag(), body.length);
    return out;
  },

  xchachaOpen: (key, nonce, sealed, aad) =>
    open('the XChaCha20-Poly1305 ciphertext', () => {
      if (sealed.length < tagLength) throw new RangeError('shorter than its tag');
      const at = sealed.length - tagLength;
      const [subkey, iv] = xchachaKey(key, nonce);
      const decipher = createDecipheriv(chacha, subkey, iv, { authTagLength: tagLength });
      subkey.fill(0);
      decipher.setAAD(aad, { plaintextLength: at });
      decipher.setAuthTag(sealed.subarray(at));
      const body = decipher.update(sealed.subarray(0, at));
      decipher.final();
      return plain(body);
    }),

  async verify(algorithm, spki, signature, data) {
    const key = publicKey(spki);
    const input = key === undefined ? undefined : verifyInput(algorithm, key);
    if (key === undefined || input === undefined) return false;
    const { hash, curve } = algorithms[algorithm];
    const isQuick = isQuickCurve(curve) && data.length <= quickBytesMax;
    const isSigned = isQuick
      ? nodeVerify(hash, data, input, signature)
      : await new Promise<boolean>((resolve) => {
          nodeVerify(hash, data, input, signature, (error, ok) => resolve(error === null && ok));
        });
    if (isSigned) rememberKey(spki, key);
    if (isQuick) await turn();
    return isSigned;
  },

  async rsaOaepEncrypt(hash, spki, label, plaintext) {
    const key = publicKey(spki);
    if (key?.asymmetricKeyType !== 'rsa') throw new CvmpError('MALFORMED', 'not an RSA key');
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    try {
      const input = { key, padding, oaepHash: hash, oaepLabel: Buffer.from(label) };
      return new Uint8Array(publicEncrypt(input, plaintext));
    } catch (cause) {
      throw new CvmpError('MALFORMED', 'the RSA key has no room for the plaintext', { cause });
    }
  },

  async generateEcKey(curve) {
    const options = { namedCurve: nativeCurve[curve] };
    if (!isQuickCurve(curve)) {
      return ecPrivateKey((await generateKeyPairAsync('ec', options)).privateKey);
    }
    const made = ecPrivateKey(generateKeyPairSync('ec', options).privateKey);
    await turn();
    return made;
  },

  async importEcKey(pkcs8) {
    let key: KeyObject;
    try {
      key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
    } catch (cause) {
      throw new CvmpError('MALFORMED', 'not a PKCS#8 private key', { cause });
    }
    return ecPrivateKey(key);
  },

  async exportEcKey(key) {
    return new Uint8Array(native(key).export({ format: 'der', type: 'pkcs8' }));
  },

  async sign(key, data, where) {
    const input: SignKeyObjectInput = { key: native(key), dsaEncoding: 'ieee-p1363' };
    if (where !== 'aside' && isQuickCurve(key.curve) && data.length <= quickBytesMax) {
      const signature = new Uint8Array(nodeSign(hashOfCurve[key.curve], data, input));
      await turn();
      return signature;
    }
    return new Promise((resolve, reject) => {
      nodeSign(hashOfCurve[key.curve], data, input, (error, signature) =>
        error === null ? resolve(new Uint8Array(signature)) : reject(error),
      );
    });
  },

  async ecdh(key, peerPoint) {
    const length = 1 + 2 * coordinateLength[key.curve];
    if (peerPoint.length !== length || peerPoint[0] !== 4) {
      throw new CvmpError('MALFORMED', `not an uncompressed ${key.curve} point`);
    }
    const peer = publicKey(ecSpki(key.curve, peerPoint));
    if (peer === undefined) throw new CvmpError('MALFORMED', `not a point on ${key.curve}`);
    return plain(diffieHellman({ privateKey: native(key), publicKey: peer }));
  },
};
