import { equalBytes, toHex } from '../bytes.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from '../cose/key.js';
import { type CoseSign1, verifySign1 } from '../cose/sign1.js';
import type { SignatureAlgorithm } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { type Certificate, parseCertificate } from '../x509/certificate.js';
import { type Chain, verifyChain, verifyValidity } from '../x509/chain.js';
import { keyUsageBit, permitsUsage } from '../x509/extensions.js';
import type { Validity } from './comid.js';
import type { Corim } from './corim.js';
import { chainOf, type SignedCorim } from './signed.js';

/** Whom the Verifier believes as a provider of reference values. */
export interface TrustedSigners {
  readonly keys: readonly EcPublicKey[];
  /** DER: a signer's own certificate, or an authority above it. */
  readonly certificates: readonly Uint8Array[];
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
}

/** Who was found to have signed. */
export interface VerifiedSigner {
  /** Subject of the certificate, or thumbprint of the key. */
  readonly name: string;
  /** RFC 9679, SHA-256 (32 bytes). */
  readonly keyThumbprint: Uint8Array;
}

const algorithms: readonly SignatureAlgorithm[] = [
  'ES256',
  'ES384',
  'PS256',
  'PS384',
  'RS256',
  'RS384',
];

/**
 * Verifies that a trusted signer signed the manifest, and that signature and manifest hold at the time
 * of evaluation.
 * @throws CvmpError SIGNATURE_INVALID (no trusted key made it), UNTRUSTED_ROOT, CHAIN_INVALID,
 *   CERT_EXPIRED, WRONG_KEY_TYPE, UNSUPPORTED_ALGORITHM, COLLATERAL_STALE, MALFORMED
 */
export async function verifySignedCorim(
  signed: SignedCorim,
  trust: TrustedSigners,
): Promise<VerifiedSigner> {
  const signer = await findSigner(signed.message, trust);
  for (const { name, validity } of signed.signers) {
    requireValid(validity, `the signature of ${name}`, trust.at);
  }
  requireCurrent(signed.corim, trust.at);
  return signer;
}

/** @throws CvmpError COLLATERAL_STALE outside of rim-validity, also that of a tag list */
export function requireCurrent(corim: Corim, at: number): void {
  requireValid(corim.validity, `manifest ${corim.id}`, at);
  for (const tag of corim.tags) {
    if (tag.kind === 'tag-list') requireValid(tag.validity, `tag list ${tag.tagId.id}`, at);
  }
}

function requireValid(validity: Validity | undefined, what: string, at: number): void {
  if (validity === undefined) return;
  const { notBefore = 0, notAfter } = validity;
  if (at >= notBefore && at <= notAfter) return;
  const text = (time: number) => new Date(Math.min(time, 8.64e15)).toISOString();
  const period = `${what} holds from ${text(notBefore)} to ${text(notAfter)}`;
  throw new CvmpError('COLLATERAL_STALE', `${period}, not at ${text(at)}`, { field: 'validity' });
}

/** The key of a chain that the message brings, or one of the trusted keys. */
async function findSigner(message: CoseSign1, trust: TrustedSigners): Promise<VerifiedSigner> {
  // kid is a hint whose form its maker chooses; there are few keys.
  for (const key of trust.keys) {
    if (await isSignedBy(message, key)) {
      const keyThumbprint = thumbprint(key);
      return { name: `key ${toHex(keyThumbprint)}`, keyThumbprint };
    }
  }
  const brought = chainOf(message);
  if (brought !== undefined && trust.certificates.length > 0) {
    return verifyByChain(
      message,
      brought.map((der) => parseCertificate(der, 'x5chain')),
      trust,
    );
  }
  for (const certificate of trust.certificates.map((der) => parseCertificate(der, 'signer'))) {
    const key = keyOf(certificate);
    if (key === undefined || !(await isSignedBy(message, key))) continue;
    verifyValidity(certificate, trust.at);
    return { name: certificate.subject.text, keyThumbprint: thumbprint(key) };
  }
  throw new CvmpError('SIGNATURE_INVALID', 'no trusted signer signed this manifest', {
    field: 'corim.signature',
  });
}

async function verifyByChain(
  message: CoseSign1,
  brought: readonly Certificate[],
  trust: TrustedSigners,
): Promise<VerifiedSigner> {
  const [leaf] = brought as [Certificate, ...Certificate[]];
  const trusted = trust.certificates.map((der) => parseCertificate(der, 'signer'));
  const pinned = trusted.some(({ der }) => equalBytes(der, leaf.der));
  if (pinned) {
    verifyValidity(leaf, trust.at);
  } else {
    await verifyChain(completeChain(brought, trusted), { at: trust.at, algorithms });
  }
  const key = keyOf(leaf);
  if (key === undefined) {
    throw new CvmpError('WRONG_KEY_TYPE', `${leaf.subject.text} has no key on P-256 or P-384`, {
      field: 'x5chain',
    });
  }
  // An authority certifies more than signers: what it gave for encryption only signs nothing.
  const { basicConstraints, extensions, subject } = leaf;
  if ((basicConstraints.ca && !pinned) || !permitsUsage(extensions, keyUsageBit.digitalSignature)) {
    throw new CvmpError('WRONG_KEY_TYPE', `${subject.text} is not the certificate of a signer`, {
      field: 'x5chain',
    });
  }
  await verifySign1(message, key);
  return { name: leaf.subject.text, keyThumbprint: thumbprint(key) };
}

/** From the leaf up to a trusted certificate, which the message need not bring. */
function completeChain(brought: readonly Certificate[], trusted: readonly Certificate[]): Chain {
  for (const root of trusted) {
    const place = brought.findIndex(({ der }) => equalBytes(der, root.der));
    const below = place < 0 ? brought : brought.slice(0, place);
    const last = below.at(-1);
    if (last !== undefined && last.issuer.text === root.subject.text) {
      return [...below, root] as unknown as Chain;
    }
  }
  throw new CvmpError('UNTRUSTED_ROOT', 'the chain of the signer ends in no trusted certificate', {
    field: 'x5chain',
  });
}

function keyOf({ publicKey }: Certificate): EcPublicKey | undefined {
  return publicKey.kind === 'ec' ? ecPublicKey(publicKey.curve, publicKey.point) : undefined;
}

async function isSignedBy(message: CoseSign1, key: EcPublicKey): Promise<boolean> {
  try {
    await verifySign1(message, key);
    return true;
  } catch (error) {
    if (error instanceof CvmpError && error.code === 'SIGNATURE_INVALID') return false;
    throw error;
  }
}
