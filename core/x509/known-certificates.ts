import { crypto } from '#crypto';
import { toHex } from '../bytes.js';
import { type Certificate, parseCertificate } from './certificate.js';
import type { KnownSignatures } from './chain.js';
import { type CertificateList, parseCertificateList } from './crl.js';
import { sameName } from './name.js';

/** Chips and platforms whose certificates are remembered; a certificate is about 2 kB. */
const certificatesMax = 1024;
/** Revocation lists that are remembered; one has 3 kB, seldom more. */
const listsMax = 64;

/**
 * Certificates and revocation lists of chains that were verified before, by digest. Who signed what
 * never changes, so it is not computed again for the same bytes; what can change (trust anchors,
 * dates, revocation, and the evidence itself) is judged every time. Only verified chains enter, so
 * nobody without a genuine chain can fill it.
 */
const certificates = new Map<string, Certificate>();
const lists = new Map<string, CertificateList>();
const signers = new WeakMap<Certificate | CertificateList, Certificate>();
/** Digest of each that was parsed from a copy of its own. */
const digests = new WeakMap<Certificate | CertificateList, string>();

/** Parses a certificate, or gives the one that was verified before. @throws as parseCertificate */
export function knownCertificate(der: Uint8Array, path: string): Certificate {
  return known(certificates, der, (own) => parseCertificate(own, path));
}

/** Parses a list, or gives the one that was verified before. @throws as parseCertificateList */
export function knownList(der: Uint8Array, path: string): CertificateList {
  return known(lists, der, (own) => parseCertificateList(own, path));
}

/** What is not known is parsed from a copy that nobody else can change, so it can be remembered. */
function known<T extends Certificate | CertificateList>(
  kept: ReadonlyMap<string, T>,
  der: Uint8Array,
  parse: (own: Uint8Array) => T,
): T {
  const digest = digestOf(der);
  const before = kept.get(digest);
  if (before !== undefined) return before;
  const parsed = parse(new Uint8Array(der));
  digests.set(parsed, digest);
  return parsed;
}

/**
 * Remembers a verified chain, leaf first, and the lists that were verified with it: as they are what
 * {@link knownCertificate} gave, others in copies that nobody else can change.
 */
export function rememberChain(
  chain: readonly Certificate[],
  verifiedLists: readonly CertificateList[] = [],
): void {
  const copies = chain.map((c) => keep(certificates, certificatesMax, c, parseCertificate));
  for (const [i, copy] of copies.entries()) signers.set(copy, copies[i + 1] ?? copy);
  for (const list of verifiedLists) {
    // The leaf issued nothing here: a list in its name was not verified.
    const signer = copies.slice(1).find(({ subject }) => sameName(subject, list.issuer));
    if (signer === undefined) continue;
    signers.set(keep(lists, listsMax, list, parseCertificateList), signer);
  }
}

/** What {@link rememberChain} saw. */
export const knownSignatures: KnownSignatures = {
  has: (signed, signer) => signers.get(signed) === signer,
};

/** Last in, last out. */
function keep<T extends Certificate | CertificateList>(
  kept: Map<string, T>,
  max: number,
  value: T,
  parse: (der: Uint8Array) => T,
): T {
  const own = digests.get(value);
  const digest = own ?? digestOf(value.der);
  const copy = kept.get(digest) ?? (own === undefined ? parse(new Uint8Array(value.der)) : value);
  digests.set(copy, digest);
  kept.delete(digest);
  kept.set(digest, copy);
  for (const oldest of kept.keys()) {
    if (kept.size <= max) break;
    kept.delete(oldest);
  }
  return copy;
}

function digestOf(der: Uint8Array): string {
  return toHex(crypto.hash('sha256', der));
}
