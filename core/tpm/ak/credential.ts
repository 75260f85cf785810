import { crypto } from '#crypto';
import { concat, utf8 } from '../../bytes.js';
import { coordinateLength, type EcCurve, type HashName } from '../../crypto.js';
import { CvmpError } from '../../errors.js';
import type { Credential } from '../../rats/activation.js';
import type { Certificate } from '../../x509/certificate.js';
import { extensionOid, keyUsageBit, permitsPurpose, permitsUsage } from '../../x509/extensions.js';

/** The public EK; of a certificate, or of anything else that is believed to name an EK. */
export type EndorsementKey = Pick<Certificate, 'publicKey' | 'spki'>;

/** Of the EK templates L-1, L-2, H-3 (TCG EK Credential Profile, B.3, B.4). */
interface EkProfile {
  readonly hash: Extract<HashName, 'sha256' | 'sha384'>;
  /** Bytes of the AES key. */
  readonly keyLength: number;
}

const lowProfile: EkProfile = { hash: 'sha256', keyLength: 16 };
const highProfile: EkProfile = { hash: 'sha384', keyLength: 32 };
const hashLength = { sha256: 32, sha384: 48 } as const;
/** TPM2B_DIGEST of a credential is no longer than a digest. */
const secretLengthMax = 32;

/** tcg-kp-EKCertificate. */
const ekUsage = '2.23.133.8.1';

/**
 * TPM2_MakeCredential in software (TPM 2.0 Part 1, 24): seals a secret to the EK so that its TPM
 * opens it only where it also holds the key of this name. An AK that comes back with the secret is
 * in the TPM that the EK certificate is of.
 * @param ek of a verified certificate, or of an SVSM's manifest
 * @param akName nameAlg || digest
 * @param secret at most 32 bytes
 * @throws CvmpError WRONG_KEY_TYPE, SIZE, MALFORMED
 */
export async function makeCredential(
  ek: EndorsementKey,
  akName: Uint8Array,
  secret: Uint8Array,
): Promise<Credential> {
  if (secret.length > secretLengthMax) {
    throw new CvmpError('SIZE', `a credential of ${secret.length} bytes`);
  }
  const { profile, seed, encryptedSeed } = await shareSeed(ek);
  const symmetricKey = kdfa(profile.hash, seed, 'STORAGE', akName, profile.keyLength);
  const identity = crypto.aesCfbEncrypt(symmetricKey, new Uint8Array(16), tpm2b(secret));
  const length = hashLength[profile.hash];
  const hmacKey = kdfa(profile.hash, seed, 'INTEGRITY', new Uint8Array(), length);
  const integrity = crypto.hmac(profile.hash, hmacKey, identity, akName);
  for (const key of [symmetricKey, hmacKey, seed]) key.fill(0);
  return {
    credentialBlob: tpm2b(concat(tpm2b(integrity), identity)),
    encryptedSecret: tpm2b(encryptedSeed),
  };
}

/**
 * Whether a certificate is of an EK: a key that only decrypts, and no other usage named.
 * @throws CvmpError MALFORMED
 */
export function isEkCertificate(certificate: Certificate): boolean {
  const { extensions, publicKey } = certificate;
  const usage = publicKey.kind === 'rsa' ? keyUsageBit.keyEncipherment : keyUsageBit.keyAgreement;
  return (
    extensions.has(extensionOid.keyUsage) &&
    permitsUsage(extensions, usage) &&
    !permitsUsage(extensions, keyUsageBit.digitalSignature) &&
    permitsPurpose(extensions, ekUsage)
  );
}

interface SharedSeed {
  readonly profile: EkProfile;
  readonly seed: Uint8Array;
  readonly encryptedSeed: Uint8Array;
}

const label = 'IDENTITY';

async function shareSeed({ publicKey, spki }: EndorsementKey): Promise<SharedSeed> {
  switch (publicKey.kind) {
    case 'rsa': {
      const profile = publicKey.modulusBits > 2048 ? highProfile : lowProfile;
      const seed = crypto.randomBytes(hashLength[profile.hash]);
      const labelBytes = concat(utf8(label), Uint8Array.of(0));
      const encryptedSeed = await crypto.rsaOaepEncrypt(profile.hash, spki, labelBytes, seed);
      return { profile, seed, encryptedSeed };
    }
    case 'ec': {
      const { curve, point } = publicKey;
      const profile = curve === 'P-256' ? lowProfile : highProfile;
      const ephemeral = await crypto.generateEcKey(curve);
      const shared = await crypto.ecdh(ephemeral, point);
      const own = coordinates(curve, ephemeral.publicPoint);
      const seed = kdfe(profile.hash, shared, own.x, coordinates(curve, point).x);
      return { profile, seed, encryptedSeed: concat(tpm2b(own.x), tpm2b(own.y)) };
    }
    default:
      throw new CvmpError('WRONG_KEY_TYPE', 'the EK is neither RSA nor on P-256 or P-384');
  }
}

function coordinates(curve: EcCurve, point: Uint8Array): { x: Uint8Array; y: Uint8Array } {
  const length = coordinateLength[curve];
  return { x: point.slice(1, 1 + length), y: point.slice(1 + length) };
}

/** KDFa (TPM 2.0 Part 1, 11.4.10.2) of at most one block. */
function kdfa(
  hash: EkProfile['hash'],
  key: Uint8Array,
  purpose: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const block = crypto.hmac(
    hash,
    key,
    u32(1),
    utf8(purpose),
    Uint8Array.of(0),
    context,
    u32(8 * length),
  );
  return block.slice(0, length);
}

/** KDFe (TPM 2.0 Part 1, 11.4.10.3) of one block. */
function kdfe(
  hash: EkProfile['hash'],
  shared: Uint8Array,
  partyU: Uint8Array,
  partyV: Uint8Array,
): Uint8Array {
  return crypto.hash(hash, u32(1), shared, utf8(label), Uint8Array.of(0), partyU, partyV);
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function tpm2b(bytes: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes);
}
