import { crypto } from '#crypto';
import { toHex } from '../../bytes.js';
import type { SignatureAlgorithm } from '../../crypto.js';
import { CvmpError } from '../../errors.js';
import type { Certificate } from '../../x509/certificate.js';
import { type Chain, verifyChain } from '../../x509/chain.js';
import type { CertificateList } from '../../x509/crl.js';
import { knownCertificate, knownSignatures, rememberChain } from '../../x509/known-certificates.js';
import { sameName } from '../../x509/name.js';
import { parsePem } from '../../x509/pem.js';
import { pckChainCertification } from '../layout.js';
import type { TdxQuote } from '../parse.js';
import { isPckCertificate } from './pck.js';

/** Intel signs everything by ECDSA on P-256 with SHA-256. */
export const algorithms: readonly SignatureAlgorithm[] = ['ES256'];

const leafName = 'Intel SGX PCK Certificate';
const issuerNames: readonly (string | undefined)[] = [
  'Intel SGX PCK Platform CA',
  'Intel SGX PCK Processor CA',
];
const certificatesMax = 8;

/** PCK certificate, its CA, and the root where it came along. */
export interface PckChain {
  readonly pck: Certificate;
  readonly ca: Certificate;
  readonly root: Certificate | undefined;
  /** What came with the quote. */
  readonly text: ChainText | undefined;
}

/** The PEM of a chain by its digest, and what is in it (DER). */
interface ChainText {
  readonly digest: string;
  readonly ders: readonly Uint8Array[];
}

/** A platform sends the same text with every quote; kept are those of chains that verified. */
const knownTexts = new Map<string, ChainText>();
const textsMax = 1024;

/**
 * The PCK chain of a quote, whatever the order of its certificates.
 * @param more certificates from elsewhere, for quotes that only name their platform
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, CHAIN_INVALID (certificates are missing)
 */
export function pckChainOf(quote: TdxQuote, more: readonly Certificate[] = []): PckChain {
  const text =
    quote.certificationType === pckChainCertification
      ? readText(quote.certificationData)
      : undefined;
  const carried = text?.ders.map((der, i) => knownCertificate(der, `pck_chain[${i}]`)) ?? more;
  const leaves = carried.filter(isPckCertificate);
  const [pck] = leaves;
  if (pck === undefined || leaves.length > 1) {
    throw new CvmpError('CHAIN_INVALID', `${leaves.length} PCK certificates came with the quote`);
  }
  const issuerOf = (of: Certificate) =>
    [...carried, ...more].find((c) => c !== of && sameName(c.subject, of.issuer));
  const ca = issuerOf(pck);
  if (ca === undefined) {
    throw new CvmpError('CHAIN_INVALID', `missing: the certificate of ${pck.issuer.text}`);
  }
  return { pck, ca, root: issuerOf(ca), text };
}

/** @param pem may end in NUL bytes, as in quotes */
function readText(pem: Uint8Array): ChainText {
  const digest = toHex(crypto.hash('sha256', pem));
  const known = knownTexts.get(digest);
  if (known !== undefined) return known;
  let end = pem.length;
  while (end > 0 && pem[end - 1] === 0) end -= 1;
  const blocks = parsePem(pem.subarray(0, end), 'pck_chain');
  if (blocks.length > certificatesMax) {
    throw new CvmpError('SIZE', `the PCK chain has ${blocks.length} certificates`);
  }
  return { digest, ders: blocks.map(({ der }) => der) };
}

/** First in, first out. */
function rememberText(text: ChainText): void {
  if (knownTexts.has(text.digest)) return;
  knownTexts.set(text.digest, text);
  for (const oldest of knownTexts.keys()) {
    if (knownTexts.size <= textsMax) break;
    knownTexts.delete(oldest);
  }
}

/** Both revocation lists that a PCK chain needs. */
export interface PckCrls {
  /** Of the root: revokes CAs and signers of collateral. */
  readonly root: CertificateList;
  /** Of the Platform or Processor CA: revokes platforms. */
  readonly pck: CertificateList;
}

/**
 * Step 5: the PCK certificate comes from Intel and nothing in its chain is revoked (protocol.md
 * s.3.2). That the root is pinned was verified before.
 * @param crls undefined: nothing is known of revocation
 * @throws CvmpError CHAIN_INVALID, CERT_EXPIRED, CERT_REVOKED, COLLATERAL_STALE, UNTRUSTED_ROOT
 */
export async function verifyPckChain(
  { pck, ca, text }: PckChain,
  root: Certificate,
  at: number,
  crls: PckCrls | undefined,
): Promise<void> {
  // Intel's root has other children: roles come from names, never from the position alone.
  if (pck.subject.commonName !== leafName || !issuerNames.includes(ca.subject.commonName)) {
    throw new CvmpError('CHAIN_INVALID', `${pck.subject.text}, issued by ${ca.subject.text}`);
  }
  if (crls !== undefined) {
    requireListOf(crls.root, root);
    requireListOf(crls.pck, ca);
  }
  const chain: Chain = [pck, ca, root];
  const lists = crls === undefined ? [] : [crls.root, crls.pck];
  await verifyChain(chain, { at, algorithms, crls: lists, known: knownSignatures });
  rememberChain(chain, lists);
  if (text !== undefined) rememberText(text);
}

/**
 * The chain rules enforce a list where its issuer occurs in the chain; this makes it occur.
 * @throws CvmpError COLLATERAL_STALE
 */
export function requireListOf(crl: CertificateList, issuer: Certificate): void {
  if (sameName(crl.issuer, issuer.subject)) return;
  const message = `the revocation list is of ${crl.issuer.text}, not of ${issuer.subject.text}`;
  throw new CvmpError('COLLATERAL_STALE', message, { field: 'crl' });
}
