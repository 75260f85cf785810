import { utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { decodeCmw, encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements, type TrustAnchor, type VendorStatement } from '#core/rats/endorsements.js';
import { endorsementNeeds, openEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { readEndorsementKeyInfo } from '#core/snp/endorsement/extensions.js';
import { snpCollection } from '#core/snp/evidence.js';
import { reportLength } from '#core/snp/layout.js';
import { isProduct, productNamed } from '#core/snp/product.js';
import { JsonReader, parseSignedJson } from '#core/tdx/endorsement/signed-json.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { type CertificateList, parseCertificateList } from '#core/x509/crl.js';
import { sameName } from '#core/x509/name.js';
import { looksLikePem, parsePem, toPem } from '#core/x509/pem.js';
import type { StatementDocument } from './statements.js';

/** A statement with what is to be imported as it. */
export interface NamedDocument {
  readonly statement: VendorStatement;
  readonly document: StatementDocument;
}

/**
 * What vendors publish for recorded evidence.
 * @param evidence SNP report, TDX quote, or CMW collection
 * @throws CvmpError UNSUPPORTED_EVIDENCE where nothing can be told from it; as openEvidence
 */
export async function statementsFor(
  evidence: Uint8Array,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<readonly VendorStatement[]> {
  const inputs = { anchors, endorsements: noEndorsements, at };
  const needs = await endorsementNeeds(openEvidence(collectionOf(evidence), schemes), inputs);
  if (needs.length > 0) return needs.map(({ statement }) => statement);
  throw new CvmpError('UNSUPPORTED_EVIDENCE', 'the evidence does not name what vendors publish');
}

function collectionOf(evidence: Uint8Array): Uint8Array {
  if (evidence.length === reportLength) {
    return encodeCmw(snpCollection(evidence, new Uint8Array()));
  }
  // A quote starts with its version, 4 or 5; a collection with the head of a CBOR map.
  if ((evidence[0] ?? 0) < 0xa0) return encodeCmw(tdxCollection(evidence));
  decodeCmw(evidence);
  return evidence;
}

/** What was found in files, by kind. */
interface Found {
  readonly certificates: Certificate[];
  readonly lists: CertificateList[];
  readonly documents: Uint8Array[];
}

/**
 * Tells what files are: certificates and revocation lists (DER, PEM with any number of blocks), TCB
 * Info and QE Identity (JSON as Intel sent it). Certificates of issuers are taken from all of the files.
 * @param held certificates that are there already
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, ENDORSEMENT_INVALID
 */
export function namedDocuments(
  files: readonly { readonly name: string; readonly bytes: Uint8Array }[],
  held: readonly Certificate[],
): readonly NamedDocument[] {
  const found: Found = { certificates: [], lists: [], documents: [] };
  for (const file of files) read(file, found);
  const pool = [...found.certificates, ...held];
  // Chains first: what they signed is verified by them.
  return [
    ...amdChains(found.certificates),
    ...found.documents.map((body) => namedJson(body, pool)),
    ...found.lists.flatMap((list) => namedList(list, pool)),
    ...found.certificates.flatMap(namedVcek),
  ];
}

function read({ name, bytes }: { name: string; bytes: Uint8Array }, found: Found): void {
  if (bytes[0] === '{'.charCodeAt(0)) {
    found.documents.push(bytes);
    return;
  }
  const blocks = looksLikePem(bytes)
    ? parsePem(bytes, name)
    : [{ label: labelOf(bytes, name), der: bytes }];
  for (const { label, der } of blocks) {
    if (label === 'CERTIFICATE') found.certificates.push(parseCertificate(der, name));
    else if (label === 'X509 CRL') found.lists.push(parseCertificateList(der, name));
    else throw new CvmpError('ENDORSEMENT_INVALID', `${name} holds a ${label}`);
  }
}

/** @throws CvmpError of the certificate that it is not, where it is neither */
function labelOf(der: Uint8Array, name: string): string {
  try {
    parseCertificateList(der, name);
    return 'X509 CRL';
  } catch (error) {
    if (error instanceof CvmpError) return 'CERTIFICATE';
    throw error;
  }
}

function amdChains(certificates: readonly Certificate[]): NamedDocument[] {
  return certificates.flatMap((ask) => {
    const match = /^SEV-(VLEK-)?([A-Z][a-z]+)$/.exec(ask.subject.commonName ?? '');
    const product = match?.[2] ?? '';
    const ark = certificates.find((c) => c !== ask && sameName(c.subject, ask.issuer));
    if (!isProduct(product) || ark === undefined) return [];
    const signer = match?.[1] === undefined ? 'vcek' : 'vlek';
    const body = utf8(pemOf([ask, ark]));
    return [
      {
        statement: { kind: 'amd-chain', product, signer } as const,
        document: { body, chain: undefined },
      },
    ];
  });
}

function namedVcek(certificate: Certificate): NamedDocument[] {
  if (certificate.basicConstraints.ca || certificate.publicKey.kind !== 'ec') return [];
  if (certificate.subject.commonName !== 'SEV-VCEK') return [];
  const { productName, hwId, tcb } = readEndorsementKeyInfo(certificate);
  const product = productNamed(productName);
  if (hwId === undefined || product === undefined) return [];
  return [
    {
      statement: { kind: 'amd-vcek', product, hwId, tcb },
      document: { body: certificate.der, chain: undefined },
    },
  ];
}

function namedList(list: CertificateList, pool: readonly Certificate[]): NamedDocument[] {
  const name = list.issuer.commonName ?? '';
  const alone = { body: list.der, chain: undefined };
  const product = /^ARK-([A-Z][a-z]+)$/.exec(name)?.[1];
  if (product !== undefined) {
    // The root signs ASK and ASVK, and its list is of both.
    const signers = (['vcek', 'vlek'] as const).filter((signer) => {
      const issuer = signer === 'vlek' ? `SEV-VLEK-${product}` : `SEV-${product}`;
      return pool.some((c) => c.subject.commonName === issuer);
    });
    if (signers.length === 0) throw lacking(`SEV-${product}`);
    return signers.map((signer) => ({
      statement: { kind: 'amd-crl', product, signer },
      document: alone,
    }));
  }
  if (name === 'Intel SGX Root CA') {
    const root = pool.find((c) => sameName(c.subject, list.issuer));
    if (root === undefined) throw lacking(name);
    const document = { body: list.der, chain: utf8(pemOf([root])) };
    return [{ statement: { kind: 'intel-root-crl' }, document }];
  }
  const ca = /^Intel SGX PCK (Platform|Processor) CA$/.exec(name)?.[1];
  if (ca === undefined) {
    throw new CvmpError('ENDORSEMENT_INVALID', `nobody needs a list of ${list.issuer.text}`);
  }
  const issuer = pool.find((c) => sameName(c.subject, list.issuer));
  const chain = chainFrom(issuer, pool, list.issuer.text);
  return [
    {
      statement: { kind: 'intel-pck-crl', ca: ca === 'Processor' ? 'processor' : 'platform' },
      document: { body: list.der, chain },
    },
  ];
}

function namedJson(body: Uint8Array, pool: readonly Certificate[]): NamedDocument {
  const signer = pool.find((c) => c.subject.commonName === 'Intel SGX TCB Signing');
  const chain = chainFrom(signer, pool, 'Intel SGX TCB Signing');
  const identity = memberOf(body, 'enclaveIdentity');
  if (identity !== undefined) {
    return { statement: { kind: 'intel-qe-identity' }, document: { body, chain } };
  }
  const json = parseSignedJson(body, 'tcbInfo');
  const fmspc = new JsonReader(json.value, 'tcbInfo').hex('fmspc', 6);
  return { statement: { kind: 'intel-tcb-info', fmspc }, document: { body, chain } };
}

function memberOf(body: Uint8Array, member: string): unknown {
  try {
    return parseSignedJson(body, member).value;
  } catch (error) {
    if (error instanceof CvmpError) return undefined;
    throw error;
  }
}

function chainFrom(
  signer: Certificate | undefined,
  pool: readonly Certificate[],
  name: string,
): Uint8Array {
  const root = pool.find((c) => signer !== undefined && sameName(c.subject, signer.issuer));
  if (signer === undefined || root === undefined) {
    throw lacking(signer === undefined ? name : signer.issuer.text);
  }
  return utf8(pemOf([signer, root]));
}

function lacking(name: string): CvmpError {
  return new CvmpError('ENDORSEMENT_INVALID', `give the certificate of ${name} along`);
}

function pemOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ der }) => toPem('CERTIFICATE', der)).join('');
}
