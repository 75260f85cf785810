import { crypto } from '#crypto';
import { concat, equalBytes, isZero, reversed, toHex } from '../bytes.js';
import { CvmpError, type ErrorCode } from '../errors.js';
import type { Endorsements, TrustAnchor } from '../rats/endorsements.js';
import type { Certificate } from '../x509/certificate.js';
import type { SnpClaims } from './claims.js';
import {
  assembleChain,
  type EndorsementChain,
  parseCertificates,
  verifyEndorsementChain,
} from './endorsement/chain.js';
import { type EndorsementKeyInfo, readEndorsementKeyInfo } from './endorsement/extensions.js';
import { endorses } from './endorsement/needs.js';
import { amdRoots } from './endorsement/trust-anchors.js';
import {
  ecdsaP384Sha384,
  guestPolicyBits,
  guestPolicyKnown,
  keyInfoBits,
  reportFields,
  reportVersionMax,
  reportVersionMin,
  reservedRanges,
  scalarLength,
} from './layout.js';
import type { SnpReport } from './parse.js';
import {
  belowFloor,
  decodeTcb,
  differingComponent,
  formatTcb,
  productNamed,
  productOf,
  products,
  type SnpProduct,
  type SnpTcb,
} from './product.js';

/**
 * Verifies that a report is genuine: protocol.md s.2 in the order of s.6.8, one reason each.
 *
 * Before its signature is verified, nothing in the report is believed but the three fields that say
 * how to verify it. So whatever was changed without the key is EVIDENCE_SIGNATURE_INVALID, and every
 * later reason is about a report that a real key signed.
 *
 * @param at time of evaluation, milliseconds since 1970
 * @throws CvmpError with a code of the evidence section of the error table
 */
export async function verifyReport(
  report: SnpReport,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<SnpClaims> {
  const certificates = parseCertificates(endorsements);
  const { signingKey } = report.keyInfo;
  const chain = assembleChain(certificates, signingKey, anchors, (leaf) => endorses(leaf, report));
  requireKnownFormat(report);
  const crl = await verifyEndorsementChain(chain, endorsements.crls, at);
  await requireSignature(report, chain.leaf);
  requireReserved(report);
  const key = readEndorsementKeyInfo(chain.leaf);
  requireSigner(report, key);
  const product = requireProduct(report, key, chain);
  const tcbs = requireTcb(report, key, product);
  requireChip(report, key, product);
  return {
    format: 'snp',
    simulated: !amdRoots.some((root) => equalBytes(root.spkiDigest, chain.anchor.spkiDigest)),
    reportData: report.reportData,
    configBinding: { field: 'HOST_DATA', hash: 'sha256', digest: report.hostData },
    launchMeasurement: report.measurement,
    instanceId: report.reportId,
    chipId: isZero(report.chipId) ? undefined : report.chipId,
    product,
    report,
    signingKey: key.kind,
    cspId: key.cspId,
    ...tcbs,
    endorsementDigest: crypto.hash('sha256', chain.leaf.der),
    revocation: crl && { thisUpdate: crl.thisUpdate, nextUpdate: crl.nextUpdate, checkedAt: at },
  };
}

function refuse(code: ErrorCode, message: string, field?: string): CvmpError {
  return new CvmpError(code, message, field === undefined ? {} : { field });
}

/** The fields that say how to verify. Stops reading an unknown version by the layout of another. */
function requireKnownFormat({ version, signatureAlgo, keyInfo }: SnpReport): void {
  if (version < reportVersionMin || version > reportVersionMax) {
    const known = `${reportVersionMin} to ${reportVersionMax}`;
    throw refuse('UNSUPPORTED_VERSION', `report version ${version}, not ${known}`, 'VERSION');
  }
  if (signatureAlgo !== ecdsaP384Sha384) {
    const message = `SIGNATURE_ALGO is ${signatureAlgo}, not ECDSA P-384 with SHA-384`;
    throw refuse('UNSUPPORTED_SIGNATURE_ALGO', message, 'SIGNATURE_ALGO');
  }
  const { signingKey } = keyInfo;
  if (signingKey === 'none' || signingKey === 'reserved') {
    throw refuse('WRONG_SIGNING_KEY', `SIGNING_KEY of KEY_INFO is ${signingKey}`, 'KEY_INFO');
  }
}

/** Stops every change to the report: bytes 0 to 0x29F are signed. */
async function requireSignature(report: SnpReport, leaf: Certificate): Promise<void> {
  const r = scalar(report.signatureR);
  const s = scalar(report.signatureS);
  const isValid =
    r !== undefined &&
    s !== undefined &&
    (await crypto.verify('ES384', leaf.spki, concat(r, s), report.signed));
  if (isValid) return;
  const message = `the report is not signed by ${leaf.subject.text}`;
  throw refuse('EVIDENCE_SIGNATURE_INVALID', message, 'SIGNATURE');
}

/** A scalar as ECDSA takes it: 48 bytes, big-endian; undefined where it does not fit. */
function scalar(littleEndian: Uint8Array): Uint8Array | undefined {
  if (!isZero(littleEndian.subarray(scalarLength))) return undefined;
  const value = reversed(littleEndian.subarray(0, scalarLength));
  return isZero(value) ? undefined : value;
}

/** Stops a later meaning of reserved bits from passing unseen. */
function requireReserved(report: SnpReport): void {
  const { bytes, version, guestPolicy, keyInfo } = report;
  const absent = Object.values(reportFields).filter((f) => 'since' in f && f.since > version);
  for (const { offset, length } of [...reservedRanges, ...absent]) {
    if (isZero(bytes.subarray(offset, offset + length))) continue;
    const at = `0x${offset.toString(16)}`;
    throw refuse('MALFORMED', `reserved bytes at ${at} are not zero`, 'report');
  }
  if ((guestPolicy & guestPolicyBits.RESERVED_ONE) === 0n) {
    throw refuse('MALFORMED', 'bit 17 of the guest policy is not one', 'POLICY');
  }
  if ((guestPolicy & ~guestPolicyKnown) !== 0n) {
    throw refuse('MALFORMED', 'reserved bits of the guest policy are not zero', 'POLICY');
  }
  if ((keyInfo.raw & ~keyInfoBits.known) !== 0) {
    throw refuse('MALFORMED', 'reserved bits of KEY_INFO are not zero', 'KEY_INFO');
  }
}

/** Stops a VLEK, which a provider holds for all its machines, from standing in for a chip's VCEK. */
function requireSigner({ keyInfo }: SnpReport, { kind }: EndorsementKeyInfo): void {
  if (keyInfo.signingKey === kind) return;
  const message = `KEY_INFO says ${keyInfo.signingKey}, the certificate is a ${kind}`;
  throw refuse('WRONG_SIGNING_KEY', message, 'KEY_INFO');
}

/**
 * Stops reading TCB versions by the layout of another product: report (by CPUID), certificate and
 * root must say the same. A report without CPUID is taken from products whose firmware wrote such.
 */
function requireProduct(
  report: SnpReport,
  key: EndorsementKeyInfo,
  { root }: EndorsementChain,
): SnpProduct {
  const mismatch = (message: string, field?: string) => refuse('PRODUCT_MISMATCH', message, field);
  const product = productNamed(key.productName);
  if (product === undefined) throw mismatch(`unknown product ${key.productName}`, 'productName');
  const row = products[product];
  const ofRoot = /^ARK-(.+)$/.exec(root.subject.commonName ?? '')?.[1];
  if (ofRoot !== product) {
    throw mismatch(`a ${product} certificate under ${root.subject.text}`, 'productName');
  }
  if (report.version < row.reportVersionMin) {
    throw mismatch(`${product} firmware writes no report version ${report.version}`, 'VERSION');
  }
  if (report.cpuid !== undefined && productOf(report.cpuid) !== product) {
    const { family, model } = report.cpuid;
    const cpu = `family 0x${family.toString(16)} model 0x${model.toString(16)}`;
    throw mismatch(`the report is of CPU ${cpu}, the certificate of ${product}`, 'CPUID_FAM_ID');
  }
  if (key.structVersion !== row.structVersion) {
    const message = `structVersion is ${key.structVersion}, of ${product} it is ${row.structVersion}`;
    throw mismatch(message, 'structVersion');
  }
  return product;
}

/**
 * Stops a key of one TCB from vouching for another: the SPLs of the certificate are REPORTED_TCB,
 * and REPORTED <= COMMITTED <= CURRENT in each component.
 */
function requireTcb(
  report: SnpReport,
  key: EndorsementKeyInfo,
  product: SnpProduct,
): Pick<SnpClaims, 'currentTcb' | 'reportedTcb' | 'committedTcb' | 'launchTcb'> {
  const needsFmc = products[product].tcbBytes.fmc !== undefined;
  if (needsFmc && !key.hasFmc) {
    const message = `the endorsement key certificate of a ${product} has no fmcSpl`;
    throw refuse('CERT_EXTENSION_MISSING', message, 'fmcSpl');
  }
  if (!needsFmc && key.hasFmc) {
    throw refuse('PRODUCT_MISMATCH', `a ${product} certificate has no fmcSpl`, 'fmcSpl');
  }
  const reportedTcb = decodeTcb(product, report.reportedTcb, 'REPORTED_TCB');
  const committedTcb = decodeTcb(product, report.committedTcb, 'COMMITTED_TCB');
  const currentTcb = decodeTcb(product, report.currentTcb, 'CURRENT_TCB');
  const launchTcb = decodeTcb(product, report.launchTcb, 'LAUNCH_TCB');
  if (differingComponent(key.tcb, reportedTcb) !== undefined) {
    const message = `certificate for ${formatTcb(key.tcb)}; REPORTED_TCB is ${formatTcb(reportedTcb)}`;
    throw refuse('TCB_MISMATCH', message, 'REPORTED_TCB');
  }
  requireOrder('REPORTED_TCB', reportedTcb, 'COMMITTED_TCB', committedTcb);
  requireOrder('COMMITTED_TCB', committedTcb, 'CURRENT_TCB', currentTcb);
  return { currentTcb, reportedTcb, committedTcb, launchTcb };
}

function requireOrder(lowName: string, low: SnpTcb, highName: string, high: SnpTcb): void {
  const component = belowFloor(high, low);
  if (component === undefined) return;
  const message = `${component} of ${lowName} is ${low[component]}, of ${highName} ${high[component]}`;
  throw refuse('TCB_MISMATCH', message, lowName);
}

/** Stops a report of one chip under the certificate of another. A VLEK names no chip. */
function requireChip(report: SnpReport, key: EndorsementKeyInfo, product: SnpProduct): void {
  if (key.kind === 'VLEK') return;
  if (report.keyInfo.maskChipKey) {
    const message = 'MASK_CHIP_KEY is set: nothing binds the report to the chip of its VCEK';
    throw refuse('CHIP_ID_MISMATCH', message, 'KEY_INFO');
  }
  const hwId = key.hwId ?? new Uint8Array();
  const { hwidLength } = products[product];
  const padded = concat(hwId, new Uint8Array(64 - hwId.length));
  if (hwId.length === hwidLength && equalBytes(padded, report.chipId)) return;
  const message = `CHIP_ID is ${toHex(report.chipId)}, the certificate has hwId ${toHex(hwId)}`;
  throw refuse('CHIP_ID_MISMATCH', message, 'CHIP_ID');
}
