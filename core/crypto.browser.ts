import { cfb, gcm } from '@noble/ciphers/aes.js';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import {
  type Crypto,
  coordinateLength,
  type EcCurve,
  type EcPrivateKey,
  ecSpki,
  type SignatureAlgorithm,
} from './crypto.js';
import { CvmpError } from './errors.js';

// The browser's half of the door: WebCrypto for everything asymmetric; noble for what the door
// promises synchronously (hashes, HMAC, AEAD), which WebCrypto does not give, and for XChaCha20.

const { subtle } = globalThis.crypto;
type CryptoKey = Awaited<ReturnType<typeof subtle.importKey>>;

const hashes = { sha256, sha384, sha512 };
const hashOfCurve: Record<EcCurve, string> = { 'P-256': 'SHA-256', 'P-384': 'SHA-384' };

interface AlgorithmRow {
  readonly importAs: Parameters<typeof subtle.importKey>[2];
  readonly verifyAs: Parameters<typeof subtle.verify>[0];
}

const ecdsa = (namedCurve: EcCurve): AlgorithmRow => ({
  importAs: { name: 'ECDSA', namedCurve },
  verifyAs: { name: 'ECDSA', hash: hashOfCurve[namedCurve] },
});
const pss = (hash: string, saltLength: number): AlgorithmRow => ({
  importAs: { name: 'RSA-PSS', hash },
  verifyAs: { name: 'RSA-PSS', saltLength },
});
const pkcs1 = (hash: string): AlgorithmRow => ({
  importAs: { name: 'RSASSA-PKCS1-v1_5', hash },
  verifyAs: { name: 'RSASSA-PKCS1-v1_5' },
});

/** All that is known about each algorithm. */
const algorithms: Record<SignatureAlgorithm, AlgorithmRow> = {
  ES256: ecdsa('P-256'),
  ES384: ecdsa('P-384'),
  PS256: pss('SHA-256', 32),
  PS384: pss('SHA-384', 48),
  RS256: pkcs1('SHA-256'),
  RS384: pkcs1('SHA-384'),
};

/** WebCrypto ties a key to one use; an EC key of ours has two. */
interface NativeKey {
  readonly sign: CryptoKey;
  readonly agree: CryptoKey;
}

const native = (key: EcPrivateKey) => key.native as NativeKey;

function open(what: string, body: () => Uint8Array): Uint8Array {
  try {
    return body();
  } catch (cause) {
    throw new CvmpError('DECRYPT_FAILED', `${what} does not open`, { cause });
  }
}

async function importAs(curve: EcCurve, pkcs8: Uint8Array): Promise<EcPrivateKey> {
  const [sign, agree] = await Promise.all([
    subtle.importKey('pkcs8', pkcs8, { name: 'ECDSA', namedCurve: curve }, true, ['sign']),
    subtle.importKey('pkcs8', pkcs8, { name: 'ECDH', namedCurve: curve }, true, ['deriveBits']),
  ]);
  const { x, y } = await subtle.exportKey('jwk', sign);
  const publicPoint = new Uint8Array([4, ...coordinate(x), ...coordinate(y)]);
  return { curve, publicPoint, native: { sign, agree } satisfies NativeKey };
}

/** A JWK member, base64url. */
function coordinate(text: string | undefined): Uint8Array {
  const plain = atob((text ?? '').replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (char) => char.charCodeAt(0));
}

export const crypto: Crypto = {
  turn: () => new Promise((resolve) => setTimeout(resolve)),

  randomBytes: (length) => {
    const out = new Uint8Array(length);
    // getRandomValues gives at most 65536 bytes a call.
    for (let at = 0; at < length; at += 65_536) {
      globalThis.crypto.getRandomValues(out.subarray(at, at + 65_536));
    }
    return out;
  },

  hash(name, ...parts) {
    const h = hashes[name].create();
    for (const part of parts) h.update(part);
    return h.digest();
  },

  extend(name, both) {
    both.set(hashes[name].create().update(both).digest());
  },

  hmac(name, key, ...parts) {
    const h = hmac.create(
      hashes[name],
      key instanceof Uint8Array ? key : (key.native as Uint8Array),
    );
    for (const part of parts) h.update(part);
    return h.digest();
  },

  hmacKey: (key) => ({ native: key.slice() }),

  aesGcmSeal: (key, iv, plaintext, aad) => gcm(key, iv, aad).encrypt(plaintext),

  aesGcmOpen: (key, iv, sealed, aad) =>
    open('the AES-GCM ciphertext', () => gcm(key, iv, aad).decrypt(sealed)),

  aesCfbEncrypt: (key, iv, plaintext) => cfb(key, iv).encrypt(plaintext),

  xchachaSeal: (key, nonce, plaintext, aad) =>
    xchacha20poly1305(key, nonce, aad).encrypt(plaintext),

  xchachaOpen: (key, nonce, sealed, aad) =>
    open('the XChaCha20-Poly1305 ciphertext', () =>
      xchacha20poly1305(key, nonce, aad).decrypt(sealed),
    ),

  async verify(algorithm, spki, signature, data) {
    const row = algorithms[algorithm];
    try {
      const key = await subtle.importKey('spki', spki, row.importAs, false, ['verify']);
      return await subtle.verify(row.verifyAs, key, signature, data);
    } catch {
      return false;
    }
  },

  async rsaOaepEncrypt(hash, spki, label, plaintext) {
    const importAs = { name: 'RSA-OAEP', hash: hash.replace('sha', 'SHA-') };
    try {
      const key = await subtle.importKey('spki', spki, importAs, false, ['encrypt']);
      const sealed = await subtle.encrypt({ name: 'RSA-OAEP', label }, key, plaintext);
      return new Uint8Array(sealed);
    } catch (cause) {
      throw new CvmpError('MALFORMED', 'no RSA key, or one without room', { cause });
    }
  },

  async generateEcKey(curve) {
    const usages = ['sign', 'verify'] as const;
    const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: curve }, true, usages);
    return importAs(curve, new Uint8Array(await subtle.exportKey('pkcs8', pair.privateKey)));
  },

  async importEcKey(pkcs8) {
    try {
      return await importAs('P-256', pkcs8);
    } catch {
      // It may be on the other curve.
    }
    try {
      return await importAs('P-384', pkcs8);
    } catch (cause) {
      throw new CvmpError('MALFORMED', 'not a PKCS#8 key on P-256 or P-384', { cause });
    }
  },

  async exportEcKey(key) {
    return new Uint8Array(await subtle.exportKey('pkcs8', native(key).sign));
  },

  async sign(key, data) {
    const algorithm = { name: 'ECDSA', hash: hashOfCurve[key.curve] };
    return new Uint8Array(await subtle.sign(algorithm, native(key).sign, data));
  },

  async ecdh(key, peerPoint) {
    const { curve } = key;
    const length = coordinateLength[curve];
    if (peerPoint.length !== 1 + 2 * length || peerPoint[0] !== 4) {
      throw new CvmpError('MALFORMED', `not an uncompressed ${curve} point`);
    }
    const algorithm = { name: 'ECDH', namedCurve: curve };
    const spki = ecSpki(curve, peerPoint);
    const peer = await subtle.importKey('spki', spki, algorithm, false, []).catch((cause) => {
      throw new CvmpError('MALFORMED', `not a point on ${curve}`, { cause });
    });
    const agreement = { name: 'ECDH', public: peer };
    return new Uint8Array(await subtle.deriveBits(agreement, native(key).agree, 8 * length));
  },
};
