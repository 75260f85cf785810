import {
  constants,
  createDecipheriv,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  sign,
} from 'node:crypto';
import { concat, equalBytes, utf8 } from '#core/bytes.js';
import { crypto } from '#crypto';
import { digest } from './event-log.js';

// A TPM in software with its own structures: quotes of any content, and TPM2_ActivateCredential.

export type AkKind = 'rsa' | 'P-256' | 'P-384';

export const u16 = (value: number) => Uint8Array.of(value >> 8, value & 0xff);
export const u32 = (value: number) => {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
};
const u64 = (value: bigint) => {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value);
  return out;
};
export const tpm2b = (bytes: Uint8Array) => concat(u16(bytes.length), bytes);

const bankIds = { sha1: 4, sha256: 11, sha384: 12 } as const;
const akAttributes = 0x00050072;

export interface QuoteContent {
  readonly magic?: number;
  readonly type?: number;
  readonly extraData?: Uint8Array;
  readonly resetCount?: number;
  readonly safe?: number;
  readonly firmwareVersion?: bigint;
  readonly bank?: keyof typeof bankIds;
  /** Selections instead of those of the values. */
  readonly selections?: Uint8Array;
  readonly pcrDigest?: Uint8Array;
  readonly signatureHash?: 'sha1' | 'sha256' | 'sha384';
}

export class FakeTpm {
  readonly kind: AkKind;
  /** What it counts. */
  resets = 5;
  restarts = 0;
  readonly #ak: KeyObject;
  readonly akSpki: Uint8Array;
  readonly #publicKey: KeyObject;

  constructor(kind: AkKind = 'P-256') {
    this.kind = kind;
    const pair =
      kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: kind });
    this.#ak = pair.privateKey;
    this.#publicKey = pair.publicKey;
    this.akSpki = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }));
  }

  /** TPMT_PUBLIC. */
  akPublic(attributes = akAttributes): Uint8Array {
    const jwk = this.#publicKey.export({ format: 'jwk' });
    const part = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? '', 'base64url'));
    const head = (type: number) =>
      concat(u16(type), u16(0x0b), u32(attributes), tpm2b(new Uint8Array()));
    if (this.kind === 'rsa') {
      const n = part(jwk.n);
      const scheme = concat(u16(0x10), u16(0x14), u16(0x0b));
      return concat(head(1), scheme, u16(8 * n.length), u32(0), tpm2b(n));
    }
    const curve = this.kind === 'P-256' ? 3 : 4;
    const scheme = concat(u16(0x10), u16(0x18), u16(this.kind === 'P-256' ? 0x0b : 0x0c));
    return concat(
      head(0x23),
      scheme,
      u16(curve),
      u16(0x10),
      tpm2b(part(jwk.x)),
      tpm2b(part(jwk.y)),
    );
  }

  akName(attributes = akAttributes): Uint8Array {
    return concat(u16(0x0b), digest('sha256', this.akPublic(attributes)));
  }

  /** TPMS_ATTEST. */
  attest(pcrs: ReadonlyMap<number, Uint8Array>, content: QuoteContent = {}): Uint8Array {
    const numbers = [...pcrs.keys()].sort((a, b) => a - b);
    const bitmap = new Uint8Array(3);
    for (const pcr of numbers) bitmap[pcr >> 3]! |= 1 << (pcr & 7);
    const bank = content.bank ?? 'sha256';
    const values = numbers.map((pcr) => pcrs.get(pcr)!);
    return concat(
      u32(content.magic ?? 0xff544347),
      u16(content.type ?? 0x8018),
      tpm2b(this.akName()),
      tpm2b(content.extraData ?? new Uint8Array(32)),
      u64(1000n),
      u32(content.resetCount ?? this.resets),
      u32(this.restarts),
      Uint8Array.of(content.safe ?? 1),
      u64(content.firmwareVersion ?? 0x20240101n),
      content.selections ?? concat(u32(1), u16(bankIds[bank]), Uint8Array.of(3), bitmap),
      tpm2b(content.pcrDigest ?? digest(this.#hash(content), ...values)),
    );
  }

  /** TPMT_SIGNATURE. */
  sign(attest: Uint8Array, content: QuoteContent = {}): Uint8Array {
    const hash = this.#hash(content);
    const id = u16(bankIds[hash]);
    if (this.kind === 'rsa') {
      return concat(u16(0x14), id, tpm2b(new Uint8Array(sign(hash, attest, this.#ak))));
    }
    const input = { key: this.#ak, dsaEncoding: 'ieee-p1363' } as const;
    const raw = new Uint8Array(sign(hash, attest, input));
    const half = raw.length / 2;
    return concat(u16(0x18), id, tpm2b(raw.slice(0, half)), tpm2b(raw.slice(half)));
  }

  #hash(content: QuoteContent): 'sha1' | 'sha256' | 'sha384' {
    return content.signatureHash ?? (this.kind === 'P-384' ? 'sha384' : 'sha256');
  }
}

/** An EK that opens credentials as TPM2_ActivateCredential does (TPM 2.0 Part 3, 12.5). */
export class FakeEk {
  readonly kind: 'rsa' | 'P-256' | 'P-384';
  readonly spki: Uint8Array;
  readonly #key: KeyObject;

  constructor(kind: FakeEk['kind']) {
    this.kind = kind;
    const pair =
      kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: kind });
    this.#key = pair.privateKey;
    this.spki = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }));
  }

  /** TPMT_PUBLIC by the templates L-1, L-2 and H-3 (TCG EK Credential Profile, B.3, B.4). */
  publicArea(): Uint8Array {
    const jwk = createPublicKey(this.#key).export({ format: 'jwk' });
    const part = (text: string | undefined) =>
      tpm2b(new Uint8Array(Buffer.from(text ?? '', 'base64url')));
    const isHigh = this.kind === 'P-384';
    const head = concat(
      u16(this.kind === 'rsa' ? 1 : 0x23),
      u16(isHigh ? 0x0c : 0x0b),
      u32(0x000300b2),
      tpm2b(new Uint8Array(isHigh ? 48 : 32).fill(7)),
      concat(u16(6), u16(isHigh ? 256 : 128), u16(0x43)),
      u16(0x10),
    );
    if (this.kind === 'rsa') return concat(head, u16(2048), u32(0), part(jwk.n));
    const curve = u16(isHigh ? 4 : 3);
    return concat(head, curve, u16(0x10), part(jwk.x), part(jwk.y));
  }

  /** The secret, or undefined where the TPM would answer TPM_RC_INTEGRITY. */
  async activate(
    akName: Uint8Array,
    credentialBlob: Uint8Array,
    encryptedSecret: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    const hash = this.kind === 'P-384' ? 'sha384' : 'sha256';
    const keyLength = this.kind === 'P-384' ? 32 : 16;
    const seed = await this.#seed(encryptedSecret.slice(2), hash);
    const kdf = (label: string, context: Uint8Array, length: number) =>
      new Uint8Array(
        createHmac(hash, seed)
          .update(concat(u32(1), utf8(`${label}\0`), context, u32(8 * length)))
          .digest(),
      ).slice(0, length);
    const digestLength = hash === 'sha384' ? 48 : 32;
    const integrity = credentialBlob.slice(4, 4 + digestLength);
    const identity = credentialBlob.slice(4 + digestLength);
    const key = kdf('INTEGRITY', new Uint8Array(), digestLength);
    const expected = createHmac(hash, key).update(identity).update(akName).digest();
    if (!equalBytes(new Uint8Array(expected), integrity)) return undefined;
    const symmetric = kdf('STORAGE', akName, keyLength);
    const decipher = createDecipheriv(`aes-${8 * keyLength}-cfb`, symmetric, new Uint8Array(16));
    return new Uint8Array(decipher.update(identity)).slice(2);
  }

  async #seed(encrypted: Uint8Array, hash: 'sha256' | 'sha384'): Promise<Uint8Array> {
    if (this.kind === 'rsa') {
      const padding = constants.RSA_PKCS1_OAEP_PADDING;
      const oaepLabel = Buffer.from('IDENTITY\0');
      const input = { key: this.#key, padding, oaepHash: hash, oaepLabel };
      return new Uint8Array(privateDecrypt(input, encrypted));
    }
    const length = (encrypted[0]! << 8) | encrypted[1]!;
    const x = encrypted.slice(2, 2 + length);
    const y = encrypted.slice(4 + length);
    const pkcs8 = new Uint8Array(this.#key.export({ format: 'der', type: 'pkcs8' }));
    const own = await crypto.importEcKey(pkcs8);
    const shared = await crypto.ecdh(own, concat(Uint8Array.of(4), x, y));
    const ownX = own.publicPoint.slice(1, 1 + length);
    return digest(hash, u32(1), shared, utf8('IDENTITY\0'), x, ownX);
  }
}
