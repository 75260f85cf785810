import { tag } from '#core/asn1/tags.js';
import { equalBytes, fromHex, fromUtf8, toHex } from '#core/bytes.js';
import type { SignatureAlgorithm } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import {
  type Endorsements,
  noEndorsements,
  type TrustAnchor,
  type VendorStatement,
} from '#core/rats/endorsements.js';
import { readEndorsementKeyInfo } from '#core/snp/endorsement/extensions.js';
import { differingComponent, productNamed } from '#core/snp/product.js';
import { qeIdentityType, tcbInfoType } from '#core/tdx/endorsement/collateral.js';
import { readQeIdentity } from '#core/tdx/endorsement/qe-identity.js';
import { parseSignedJson } from '#core/tdx/endorsement/signed-json.js';
import { type CollateralHead, readTcbInfo } from '#core/tdx/endorsement/tcb-info.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { verifyChain, verifyCrl } from '#core/x509/chain.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { sameName } from '#core/x509/name.js';
import { looksLikePem, parsePem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import type { StatementDocument } from './statements.js';

/** A statement that its vendor made, about what was asked. */
export interface VerifiedStatement {
  readonly endorsements: Endorsements;
  /** When its vendor made it, milliseconds since 1970. */
  readonly issuedAt: number;
  /** Last moment that it is good for, milliseconds since 1970. */
  readonly validUntil: number;
}

export interface VerifyContext {
  readonly anchors: readonly TrustAnchor[];
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Of who signed it, where the document has none; without them no signature is verified. */
  readonly issuers: readonly Certificate[];
}

/**
 * Verifies that a document is the statement that it should be, up to a trust anchor, and in date.
 * What evidence is verified with is verified again then; this keeps the rest out of the folder.
 * @throws CvmpError COLLATERAL_STALE, CERT_EXPIRED (out of date), or whatever else is wrong
 */
export async function verifyStatement(
  statement: VendorStatement,
  document: StatementDocument,
  context: VerifyContext,
): Promise<VerifiedStatement> {
  switch (statement.kind) {
    case 'amd-vcek':
      return verifyVcek(statement, document, context);
    case 'amd-chain':
      return verifyAmdChain(statement, document, context);
    case 'amd-crl':
      return verifyList(`ARK-${statement.product}`, document, context, 'PS384');
    case 'intel-tcb-info':
    case 'intel-qe-identity':
      return verifyJson(statement, document, context);
    case 'intel-pck-crl': {
      const ca = statement.ca === 'processor' ? 'Processor' : 'Platform';
      return verifyList(`Intel SGX PCK ${ca} CA`, document, context, 'ES256');
    }
    case 'intel-root-crl':
      return verifyList('Intel SGX Root CA', document, context, 'ES256');
  }
}

/** The certificate of this chip at this TCB: that of another chip would only make evidence fail. */
async function verifyVcek(
  statement: Extract<VendorStatement, { kind: 'amd-vcek' }>,
  { body }: StatementDocument,
  { issuers, at }: VerifyContext,
): Promise<VerifiedStatement> {
  const leaf = parseCertificate(body, 'VCEK');
  const info = readEndorsementKeyInfo(leaf);
  const ofProduct = productNamed(info.productName) === statement.product;
  const ofChip = info.hwId !== undefined && equalBytes(info.hwId, statement.hwId);
  if (!ofProduct || !ofChip || differingComponent(info.tcb, statement.tcb) !== undefined) {
    throw wrong('the VCEK is of another chip, product or TCB');
  }
  const [ask, ark] = issuers;
  if (ask !== undefined && ark !== undefined) {
    await verifyChain([leaf, ask, ark], { at, algorithms: ['PS384'] });
  }
  return certificates([leaf]);
}

/** ASK or ASVK, and ARK, in this order. */
async function verifyAmdChain(
  { product, signer }: Extract<VendorStatement, { kind: 'amd-chain' | 'amd-crl' }>,
  { body }: StatementDocument,
  { anchors, at }: VerifyContext,
): Promise<VerifiedStatement> {
  const [ask, ark, ...more] = readPem(body);
  const issuerName = signer === 'vlek' ? `SEV-VLEK-${product}` : `SEV-${product}`;
  if (
    ark === undefined ||
    more.length > 0 ||
    ask?.subject.commonName !== issuerName ||
    ark.subject.commonName !== `ARK-${product}`
  ) {
    throw wrong(`it is not the chain of ${issuerName}`);
  }
  requireAnchor('snp', ark, anchors);
  await verifyChain([ask, ark], { at, algorithms: ['PS384'] });
  return certificates([ask, ark]);
}

async function verifyList(
  issuerName: string,
  { body, chain }: StatementDocument,
  context: VerifyContext,
  algorithm: SignatureAlgorithm,
): Promise<VerifiedStatement> {
  const { at, anchors } = context;
  const list = parseCertificateList(body, 'revocation list');
  if (list.issuer.commonName !== issuerName) {
    throw wrong(`the revocation list is of ${list.issuer.text}, not of ${issuerName}`);
  }
  const algorithms = [algorithm];
  const carried = chain === undefined ? [] : readPem(chain);
  const issuers = carried.length > 0 ? carried : context.issuers;
  const issuer = issuers.find(({ subject }) => sameName(subject, list.issuer));
  if (issuer !== undefined) {
    const root = issuers.find(({ subject }) => sameName(subject, issuer.issuer));
    if (root === undefined) throw wrong(`the certificate of ${issuer.issuer.text} is missing`);
    requireAnchor(algorithm === 'PS384' ? 'snp' : 'tdx', root, anchors);
    if (root !== issuer) await verifyChain([issuer, root], { at, algorithms });
    await verifyCrl(list, issuer, { at, algorithms });
  } else if (carried.length > 0) {
    throw wrong(`its chain lacks the certificate of ${issuerName}`);
  }
  requireCurrent(list.thisUpdate, list.nextUpdate, at);
  return {
    endorsements: { certificates: carried.map(({ der }) => der), crls: [body] },
    issuedAt: list.thisUpdate,
    validUntil: list.nextUpdate,
  };
}

async function verifyJson(
  statement: Extract<VendorStatement, { kind: 'intel-tcb-info' | 'intel-qe-identity' }>,
  { body, chain }: StatementDocument,
  { anchors, at }: VerifyContext,
): Promise<VerifiedStatement> {
  const [signer, root, ...more] = chain === undefined ? [] : readPem(chain);
  if (signer === undefined || root === undefined || more.length > 0) {
    throw wrong('it came without the chain of its signer');
  }
  requireAnchor('tdx', root, anchors);
  await verifyChain([signer, root], { at, algorithms: ['ES256'] });
  const isTcbInfo = statement.kind === 'intel-tcb-info';
  const json = parseSignedJson(body, isTcbInfo ? 'tcbInfo' : 'enclaveIdentity');
  if (!(await crypto.verify('ES256', signer.spki, json.signature, json.signedBytes))) {
    throw new CvmpError('COLLATERAL_SIGNATURE', `${signer.subject.text} did not sign it`);
  }
  let head: CollateralHead;
  if (isTcbInfo) {
    const info = readTcbInfo(json.value);
    if (!equalBytes(info.fmspc, statement.fmspc)) {
      throw wrong(`TCB Info is of FMSPC ${toHex(info.fmspc)}`);
    }
    head = info;
  } else {
    head = readQeIdentity(json.value);
  }
  requireCurrent(head.issueDate, head.nextUpdate, at);
  return {
    endorsements: {
      certificates: [signer.der, root.der],
      crls: [],
      documents: [{ mediaType: isTcbInfo ? tcbInfoType : qeIdentityType, value: body }],
    },
    issuedAt: head.issueDate,
    validUntil: Math.min(head.nextUpdate, signer.notAfter, root.notAfter),
  };
}

function certificates(chain: readonly Certificate[]): VerifiedStatement {
  return {
    endorsements: { ...noEndorsements, certificates: chain.map(({ der }) => der) },
    issuedAt: Math.max(...chain.map(({ notBefore }) => notBefore)),
    validUntil: Math.min(...chain.map(({ notAfter }) => notAfter)),
  };
}

function requireAnchor(format: string, root: Certificate, anchors: readonly TrustAnchor[]): void {
  const digest = crypto.hash('sha256', root.spki);
  if (anchors.some((a) => a.format === format && equalBytes(a.spkiDigest, digest))) return;
  const message = `no trust anchor has the key of ${root.subject.text}`;
  throw new CvmpError('UNTRUSTED_ROOT', message, { field: 'root' });
}

/** @throws CvmpError COLLATERAL_STALE */
function requireCurrent(issuedAt: number, validUntil: number, at: number): void {
  if (at >= issuedAt && at <= validUntil) return;
  const [from, to] = [issuedAt, validUntil].map((t) => new Date(t).toISOString());
  throw new CvmpError('COLLATERAL_STALE', `it is valid from ${from} to ${to}`);
}

export function readCertificates(ders: readonly Uint8Array[]): readonly Certificate[] {
  return ders.map((der, i) => parseCertificate(der, `issuer ${i + 1}`));
}

/** The certificates of a PEM text, and nothing else. */
export function readPem(pem: Uint8Array): readonly Certificate[] {
  return parsePem(pem, 'chain').map(({ label, der }, i) => {
    if (label !== 'CERTIFICATE') throw wrong(`its chain holds a ${label}`);
    return parseCertificate(der, `chain[${i}]`);
  });
}

function wrong(message: string): CvmpError {
  return new CvmpError('ENDORSEMENT_INVALID', message);
}

/**
 * A revocation list as the folder keeps it: caches give it as hex digits or PEM too.
 * @throws CvmpError MALFORMED
 */
export function toDer(body: Uint8Array): Uint8Array {
  if (body[0] === tag.sequence) return body;
  if (looksLikePem(body)) return parsePem(body, 'answer')[0]?.der ?? body;
  return fromHex(fromUtf8(body, 'answer').trim(), 'answer');
}
