import { fromHex, toHex } from '#core/bytes.js';
import type { VendorStatement } from '#core/rats/endorsements.js';
import { isProduct, products } from '#core/snp/product.js';

/** A statement as its vendor gave it, not trusted. */
export interface StatementDocument {
  /** Certificate or revocation list in DER, chain in PEM, JSON as signed. */
  readonly body: Uint8Array;
  /** Certificates of who signed it, PEM; undefined where its vendor gives none along. */
  readonly chain: Uint8Array | undefined;
}

/**
 * Name of a statement: its place in the folder of endorsements, after the URLs of its vendor.
 * {@link statementNamed} is the way back.
 */
export function nameOf(statement: VendorStatement): string {
  switch (statement.kind) {
    case 'amd-vcek': {
      const { product, hwId, tcb } = statement;
      const { fmc, bootloader, tee, snp, microcode } = tcb;
      const rest = `bl${bootloader}-tee${tee}-snp${snp}-ucode${microcode}.der`;
      const file = hasFmc(product) ? `fmc${fmc}-${rest}` : rest;
      return `amd/vcek/${product}/${toHex(hwId)}/${file}`;
    }
    case 'amd-chain':
      return `amd/${statement.signer}/${statement.product}/cert_chain.pem`;
    case 'amd-crl':
      return `amd/${statement.signer}/${statement.product}/crl.der`;
    case 'intel-tcb-info':
      return `intel/tdx/tcb/${toHex(statement.fmspc)}.json`;
    case 'intel-qe-identity':
      return 'intel/tdx/qe_identity.json';
    case 'intel-pck-crl':
      return `intel/pckcrl/${statement.ca}.der`;
    case 'intel-root-crl':
      return 'intel/rootcacrl.der';
  }
}

/** Name of the file beside `name` that holds the certificates of who signed it. */
export function chainNameOf(name: string): string {
  return name.replace(/\.(json|der)$/, '.chain.pem');
}

const svn = '(0|[1-9][0-9]{0,2})';
const vcekName = new RegExp(
  `^amd/vcek/([A-Z][a-z]+)/([0-9a-f]{16,128})/(?:fmc${svn}-)?bl${svn}-tee${svn}-snp${svn}-ucode${svn}\\.der$`,
);

/** The statement of this name; undefined for any other file. */
export function statementNamed(name: string): VendorStatement | undefined {
  const vcek = vcekName.exec(name);
  if (vcek !== null) {
    const [, product = '', hwId = '', ...svns] = vcek;
    if (!isProduct(product) || hwId.length % 2 !== 0) return undefined;
    const [fmc = 0, bootloader = 0, tee = 0, snp = 0, microcode = 0] = svns.map((n) =>
      Number(n ?? 0),
    );
    const tcb = { fmc, bootloader, tee, snp, microcode };
    return same({ kind: 'amd-vcek', product, hwId: fromHex(hwId), tcb }, name);
  }
  const amd = /^amd\/(vcek|vlek)\/([A-Z][a-z]+)\/(cert_chain\.pem|crl\.der)$/.exec(name);
  if (amd !== null) {
    const [, signer, product = '', file] = amd;
    if (!isProduct(product)) return undefined;
    return {
      kind: file === 'crl.der' ? 'amd-crl' : 'amd-chain',
      product,
      signer: signer === 'vlek' ? 'vlek' : 'vcek',
    };
  }
  const fmspc = /^intel\/tdx\/tcb\/([0-9a-f]{12})\.json$/.exec(name)?.[1];
  if (fmspc !== undefined) return { kind: 'intel-tcb-info', fmspc: fromHex(fmspc) };
  return others.find((statement) => nameOf(statement) === name);
}

const others: readonly VendorStatement[] = [
  { kind: 'intel-qe-identity' },
  { kind: 'intel-root-crl' },
  { kind: 'intel-pck-crl', ca: 'platform' },
  { kind: 'intel-pck-crl', ca: 'processor' },
];

/** A name that is written otherwise than {@link nameOf} would is none. */
function same(statement: VendorStatement, name: string): VendorStatement | undefined {
  return nameOf(statement) === name ? statement : undefined;
}

function hasFmc(product: string): boolean {
  return isProduct(product) && products[product].tcbBytes.fmc !== undefined;
}

/** Where vendors, or caches that speak for them, are reached; without a slash at the end. */
export interface VendorUrls {
  /** AMD Key Distribution Service. */
  readonly kds: string;
  /** Intel Provisioning Certification Service, or a PCCS. */
  readonly pcs: string;
  /** Revocation list of Intel's root. */
  readonly rootCrl: string;
  /** Whether TCB Info of a new TCB recovery is taken early. */
  readonly tcbUpdate: 'standard' | 'early';
  /** tcbEvaluationDataNumber to ask for; 0: the one of `tcbUpdate`. */
  readonly tcbEvaluationDataNumber: number;
}

/** URL of a statement (AMD 57230 s.4; Intel PCS API v4). */
export function urlOf(statement: VendorStatement, urls: VendorUrls): string {
  switch (statement.kind) {
    case 'amd-vcek': {
      const { product, hwId, tcb } = statement;
      const spl = (name: string, value: number) => `${name}SPL=${String(value).padStart(2, '0')}`;
      const parameters = [
        ...(hasFmc(product) ? [spl('fmc', tcb.fmc)] : []),
        spl('bl', tcb.bootloader),
        spl('tee', tcb.tee),
        spl('snp', tcb.snp),
        spl('ucode', tcb.microcode),
      ];
      return `${urls.kds}/vcek/v1/${product}/${toHex(hwId)}?${parameters.join('&')}`;
    }
    case 'amd-chain':
      return `${urls.kds}/${statement.signer}/v1/${statement.product}/cert_chain`;
    case 'amd-crl':
      return `${urls.kds}/${statement.signer}/v1/${statement.product}/crl`;
    case 'intel-tcb-info': {
      const fmspc = toHex(statement.fmspc);
      return `${urls.pcs}/tdx/certification/v4/tcb?fmspc=${fmspc}&${edition(urls)}`;
    }
    case 'intel-qe-identity':
      return `${urls.pcs}/tdx/certification/v4/qe/identity?${edition(urls)}`;
    case 'intel-pck-crl':
      return `${urls.pcs}/sgx/certification/v4/pckcrl?ca=${statement.ca}&encoding=der`;
    case 'intel-root-crl':
      return urls.rootCrl;
  }
}

/** The two parameters exclude each other. */
function edition({ tcbUpdate, tcbEvaluationDataNumber: number }: VendorUrls): string {
  return number === 0 ? `update=${tcbUpdate}` : `tcbEvaluationDataNumber=${number}`;
}

/** Response headers that hold the issuer chain, URL-encoded PEM; the older name second. */
export const chainHeaders: Readonly<Record<VendorStatement['kind'], readonly string[]>> = {
  'amd-vcek': [],
  'amd-chain': [],
  'amd-crl': [],
  'intel-tcb-info': ['tcb-info-issuer-chain', 'sgx-tcb-info-issuer-chain'],
  'intel-qe-identity': ['sgx-enclave-identity-issuer-chain'],
  'intel-pck-crl': ['sgx-pck-crl-issuer-chain'],
  'intel-root-crl': [],
};

/** Whose certificates a statement is verified by, where it does not bring them along. */
export function issuerOf(statement: VendorStatement): VendorStatement | undefined {
  switch (statement.kind) {
    case 'amd-vcek':
      return { kind: 'amd-chain', product: statement.product, signer: 'vcek' };
    case 'amd-crl':
      return { kind: 'amd-chain', product: statement.product, signer: statement.signer };
    case 'intel-root-crl':
      return { kind: 'intel-qe-identity' };
    default:
      return undefined;
  }
}
