import { crypto } from '#crypto';
import { toHex } from '../bytes.js';
import type { SignatureAlgorithm } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { rawSignature, type SignatureScheme } from './algorithm.js';
import type { Certificate } from './certificate.js';
import type { CertificateList } from './crl.js';
import { extensionOid, keyUsageBit, permitsUsage } from './extensions.js';
import { sameName } from './name.js';
import { isStrongRsa } from './public-key.js';

/** What a chain must keep to, beside RFC 5280 s.6.1. */
export interface ChainRules {
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
  /** The only signature algorithms that this hierarchy uses. */
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Critical extensions that the caller reads, beside basicConstraints and keyUsage. */
  readonly understood?: readonly string[];
  /** Revocation lists, several of an issuer too; those whose issuer signs in this chain are enforced. */
  readonly crls?: readonly CertificateList[];
  /** Signatures that need not be computed again. */
  readonly known?: KnownSignatures;
}

/** Signatures that were verified before, by identity of both values. */
export interface KnownSignatures {
  has(signed: Certificate | CertificateList, signer: Certificate): boolean;
}

/** Leaf first, root last; at least two. */
export type Chain = readonly [Certificate, ...Certificate[], Certificate];

const understood: ReadonlySet<string> = new Set([
  extensionOid.basicConstraints,
  extensionOid.keyUsage,
]);

/**
 * Verifies a chain up to its root (RFC 5280 s.6.1 without policies and name constraints, which no
 * hardware vendor uses). Whether the root is trusted is the caller's question.
 *
 * First who signed what, from the root down; then validity; then revocation: the dates of a
 * certificate mean nothing before its signature does.
 *
 * @throws CvmpError UNTRUSTED_ROOT (self-signature of the root), CHAIN_INVALID, UNKNOWN_CRITICAL,
 *   CERT_EXPIRED, COLLATERAL_STALE, CERT_REVOKED; MALFORMED (ECDSA signature encoding)
 */
export async function verifyChain(chain: Chain, rules: ChainRules): Promise<void> {
  for (let i = chain.length - 1; i >= 0; i--) {
    await verifyIssued(chain[i]!, chain[i + 1], i, rules);
  }
  for (const certificate of chain) verifyValidity(certificate, rules.at);
  for (const issuer of chain.slice(1)) await verifyRevocation(chain, issuer, rules);
}

/**
 * Verifies that nothing in the chain is on a list of this issuer. What an older list revokes stays
 * revoked, whatever else comes along; and where there are lists, one must be current: an attacker
 * who chooses among genuine lists gains nothing.
 */
async function verifyRevocation(
  chain: Chain,
  issuer: Certificate,
  rules: ChainRules,
): Promise<void> {
  const lists = (rules.crls ?? []).filter((crl) => sameName(crl.issuer, issuer.subject));
  const [first] = lists;
  if (first === undefined) return;
  for (const crl of lists) {
    await verifyCrlSignature(crl, issuer, rules);
    for (const certificate of chain) verifyNotRevoked(certificate, crl);
  }
  if (!lists.some((crl) => isCurrent(crl, rules.at))) throw stale(first);
}

/** Whether this is a time that the list speaks of (RFC 5280 s.5.1.2.4, s.5.1.2.5). */
export function isCurrent({ thisUpdate, nextUpdate }: CertificateList, at: number): boolean {
  return at >= thisUpdate && at <= nextUpdate;
}

/**
 * Verifies one step of the chain.
 * @param issuer undefined for the root, which must have signed itself
 * @param below certificates below this one
 */
async function verifyIssued(
  certificate: Certificate,
  issuer: Certificate | undefined,
  below: number,
  rules: ChainRules,
): Promise<void> {
  const name = certificate.subject.text;
  const field = below === 0 ? 'leaf' : issuer === undefined ? 'root' : 'intermediate';
  const refuse = (why: string) => new CvmpError('CHAIN_INVALID', `${name} ${why}`, { field });
  const signer = issuer ?? certificate;
  if (!sameName(certificate.issuer, signer.subject)) {
    throw refuse(`names ${certificate.issuer.text} as its issuer, not ${signer.subject.text}`);
  }
  if (!admits(rules, certificate.signatureScheme)) {
    throw refuse(`is signed by another algorithm than ${rules.algorithms.join(' or ')}`);
  }
  if (signer.publicKey.kind === 'rsa' && !isStrongRsa(signer.publicKey)) {
    throw refuse(`is signed by an RSA key of ${signer.publicKey.modulusBits} bits`);
  }
  const isKnown = rules.known?.has(certificate, signer) ?? false;
  if (!isKnown && !(await signedBy(certificate, signer))) {
    if (issuer !== undefined) throw refuse(`is not signed by ${signer.subject.text}`);
    throw new CvmpError('UNTRUSTED_ROOT', `${name} is not signed by its own key`, { field });
  }
  for (const extension of certificate.extensions.values()) {
    if (!extension.critical || understood.has(extension.oid)) continue;
    if (rules.understood?.includes(extension.oid)) continue;
    throw new CvmpError('UNKNOWN_CRITICAL', `${name} has critical extension ${extension.oid}`, {
      field,
    });
  }
  if (below === 0) return;
  const { ca, pathLength } = certificate.basicConstraints;
  if (!ca) throw refuse('is not a CA');
  if (!permitsUsage(certificate.extensions, keyUsageBit.keyCertSign)) {
    throw refuse('may not sign certificates');
  }
  if (pathLength !== undefined && below - 1 > pathLength) {
    throw refuse(`allows ${pathLength} CAs below it, ${below - 1} follow`);
  }
}

/** @throws CvmpError CERT_EXPIRED */
export function verifyValidity(certificate: Certificate, at: number): void {
  if (at >= certificate.notBefore && at <= certificate.notAfter) return;
  const [from, to, now] = [certificate.notBefore, certificate.notAfter, at].map((t) =>
    new Date(t).toISOString(),
  );
  throw new CvmpError(
    'CERT_EXPIRED',
    `${certificate.subject.text} is valid from ${from} to ${to}, not at ${now}`,
    { field: certificate.subject.text },
  );
}

/**
 * Verifies that a revocation list is of this issuer and current (RFC 5280 s.6.3).
 * @throws CvmpError CHAIN_INVALID, UNKNOWN_CRITICAL, COLLATERAL_STALE
 */
export async function verifyCrl(
  crl: CertificateList,
  issuer: Certificate,
  rules: Pick<ChainRules, 'at' | 'algorithms' | 'known'>,
): Promise<void> {
  await verifyCrlSignature(crl, issuer, rules);
  if (!isCurrent(crl, rules.at)) throw stale(crl);
}

/** Verifies that a revocation list is complete and of this issuer. */
async function verifyCrlSignature(
  crl: CertificateList,
  issuer: Certificate,
  rules: Pick<ChainRules, 'algorithms' | 'known'>,
): Promise<void> {
  const name = `the revocation list of ${crl.issuer.text}`;
  const field = 'crl';
  const refuse = (why: string) => new CvmpError('CHAIN_INVALID', `${name} ${why}`, { field });
  if (!sameName(crl.issuer, issuer.subject)) throw refuse(`is not of ${issuer.subject.text}`);
  if (!permitsUsage(issuer.extensions, keyUsageBit.cRLSign)) {
    throw refuse('comes from an issuer that may not sign it');
  }
  if (!admits(rules, crl.signatureScheme)) {
    throw refuse(`is signed by another algorithm than ${rules.algorithms.join(' or ')}`);
  }
  const isKnown = rules.known?.has(crl, issuer) ?? false;
  if (!isKnown && !(await signedBy(crl, issuer))) throw refuse('is not signed by its issuer');
  for (const extension of crl.extensions.values()) {
    if (!extension.critical) continue;
    // Among these are issuingDistributionPoint and deltaCRLIndicator: a partial list.
    throw new CvmpError('UNKNOWN_CRITICAL', `${name} has critical extension ${extension.oid}`, {
      field,
    });
  }
}

function stale(crl: CertificateList): CvmpError {
  const [from, to] = [crl.thisUpdate, crl.nextUpdate].map((t) => new Date(t).toISOString());
  const message = `the revocation list of ${crl.issuer.text} is valid from ${from} to ${to}`;
  return new CvmpError('COLLATERAL_STALE', message, { field: 'crl' });
}

function verifyNotRevoked(certificate: Certificate, crl: CertificateList): void {
  if (!sameName(certificate.issuer, crl.issuer)) return;
  if (!crl.revoked.has(toHex(certificate.serial))) return;
  throw new CvmpError(
    'CERT_REVOKED',
    `${certificate.subject.text} (serial ${toHex(certificate.serial)}) is revoked`,
    { field: certificate.subject.text },
  );
}

function admits(rules: Pick<ChainRules, 'algorithms'>, scheme: SignatureScheme): boolean {
  return scheme.algorithm !== undefined && rules.algorithms.includes(scheme.algorithm);
}

interface Signed {
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
  readonly signatureScheme: SignatureScheme;
}

/** Whether the key of `issuer` made the signature. */
export async function signedBy(signed: Signed, issuer: Certificate): Promise<boolean> {
  const { algorithm } = signed.signatureScheme;
  if (algorithm === undefined) return false;
  const signature = rawSignature(algorithm, signed.signature, 'signatureValue');
  return crypto.verify(algorithm, issuer.spki, signature, signed.tbs);
}
