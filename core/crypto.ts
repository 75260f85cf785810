/**
 * The only door to cryptographic primitives. `#crypto` resolves to `crypto.node.ts` or
 * `crypto.browser.ts`; both export one {@link Crypto} as `crypto`. Nothing else in core knows which.
 *
 * Symmetric operations are synchronous (WebCrypto costs 4 to 6 times more for small messages),
 * signatures and key agreement asynchronous, so that a verification never keeps the event loop for
 * more than one of them on P-256.
 */

export type EcCurve = 'P-256' | 'P-384';
export type HashName = 'sha256' | 'sha384' | 'sha512';

/** An HMAC key inside the implementation that took it: nothing reads it back. */
export interface HmacKey {
  readonly native: unknown;
}

/**
 * Signature algorithms. ECDSA signatures are raw r || s (IEEE P1363);
 * PS* is RSASSA-PSS with MGF1 of the same hash and salt length = hash length.
 */
export type SignatureAlgorithm = 'ES256' | 'ES384' | 'PS256' | 'PS384' | 'RS256' | 'RS384';

/** A private EC key. The native handle never leaves the implementation that made it. */
export interface EcPrivateKey {
  readonly curve: EcCurve;
  /** Uncompressed point: 04 || X || Y (65 or 97 bytes). */
  readonly publicPoint: Uint8Array;
  readonly native: unknown;
}

export interface Crypto {
  /** Lets whatever else waits run, amid work that takes long. */
  turn(): Promise<void>;
  /** Cryptographically secure random bytes. */
  randomBytes(length: number): Uint8Array;
  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array;
  /**
   * Extends a register as a TPM does: the first half of `both`, its value, becomes the hash of both
   * halves, of which the second is what it is extended by.
   * @param both twice as long as the hash
   */
  extend(name: HashName, both: Uint8Array): void;
  hmac(name: HashName, key: Uint8Array | HmacKey, ...parts: readonly Uint8Array[]): Uint8Array;
  /** Takes a copy; the caller zeroises its own. */
  hmacKey(key: Uint8Array): HmacKey;

  /**
   * AES-GCM with a 128-bit tag appended to the ciphertext.
   * @param key 16, 24 or 32 bytes
   * @param iv 12 bytes
   */
  aesGcmSeal(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array;
  /** @throws CvmpError DECRYPT_FAILED */
  aesGcmOpen(key: Uint8Array, iv: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array;

  /**
   * AES-CFB without integrity, which TPM 2.0 protects by an HMAC of its own.
   * @param key 16 or 32 bytes
   * @param iv 16 bytes
   */
  aesCfbEncrypt(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array;

  /**
   * XChaCha20-Poly1305, for records at rest.
   * @param key 32 bytes
   * @param nonce 24 bytes, may be random
   */
  xchachaSeal(
    key: Uint8Array,
    nonce: Uint8Array,
    plaintext: Uint8Array,
    aad: Uint8Array,
  ): Uint8Array;
  /** @throws CvmpError DECRYPT_FAILED */
  xchachaOpen(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array;

  /**
   * Verifies under a DER SubjectPublicKeyInfo. A key of another type or curve than the algorithm
   * asks, or one that cannot be imported, verifies nothing.
   */
  verify(
    algorithm: SignatureAlgorithm,
    spki: Uint8Array,
    signature: Uint8Array,
    data: Uint8Array,
  ): Promise<boolean>;

  /**
   * RSAES-OAEP with MGF1 of the same hash (RFC 8017 s.7.1).
   * @param spki DER SubjectPublicKeyInfo
   * @throws CvmpError MALFORMED unless it is an RSA key with room for the plaintext
   */
  rsaOaepEncrypt(
    hash: HashName,
    spki: Uint8Array,
    label: Uint8Array,
    plaintext: Uint8Array,
  ): Promise<Uint8Array>;

  generateEcKey(curve: EcCurve): Promise<EcPrivateKey>;
  /**
   * @param pkcs8 DER PrivateKeyInfo
   * @throws CvmpError MALFORMED unless it is an EC key on P-256 or P-384
   */
  importEcKey(pkcs8: Uint8Array): Promise<EcPrivateKey>;
  /** DER PrivateKeyInfo. */
  exportEcKey(key: EcPrivateKey): Promise<Uint8Array>;
  /**
   * ECDSA with SHA-256 on P-256, SHA-384 on P-384; raw r || s.
   * @param where `aside`: never on this thread, for who has other work meanwhile
   */
  sign(key: EcPrivateKey, data: Uint8Array, where?: 'aside'): Promise<Uint8Array>;
  /**
   * ECDH shared X coordinate (32 or 48 bytes).
   * @param peerPoint uncompressed point on the same curve
   * @throws CvmpError MALFORMED where the point is not on the curve
   */
  ecdh(key: EcPrivateKey, peerPoint: Uint8Array): Promise<Uint8Array>;
}

const spkiPrefix: Record<EcCurve, readonly number[]> = {
  'P-256': [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
  ],
  'P-384': [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
  ],
};

/** Bytes of one coordinate. */
export const coordinateLength: Record<EcCurve, number> = { 'P-256': 32, 'P-384': 48 };

/** The DER SubjectPublicKeyInfo (RFC 5480) of an uncompressed point. */
export function ecSpki(curve: EcCurve, point: Uint8Array): Uint8Array {
  const prefix = spkiPrefix[curve];
  const out = new Uint8Array(prefix.length + point.length);
  out.set(prefix);
  out.set(point, prefix.length);
  return out;
}
