import { isZero, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { parseSnpCollection, type SnpEvidence } from '#core/snp/evidence.js';
import { guestPolicyBits, platformInfoBits, reportLength } from '#core/snp/layout.js';
import { parseReport, type SnpReport } from '#core/snp/parse.js';
import { decodeTcb, productOf, type SnpProduct } from '#core/snp/product.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';

/** A tree of named values; leaves are text. */
export type Tree = { readonly [name: string]: string | number | boolean | Tree };

/**
 * Reads SNP evidence from a file: a bare attestation report (1184 bytes), or the CMW collection
 * that `cvmp cvm verify --out` keeps.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_EVIDENCE
 */
export function readEvidence(bytes: Uint8Array): SnpEvidence {
  if (bytes.length === reportLength) {
    return { report: parseReport(bytes), endorsements: { certificates: [], crls: [] } };
  }
  try {
    return parseSnpCollection(decodeCmw(bytes, 'evidence'));
  } catch (cause) {
    if (!(cause instanceof CvmpError) || cause.code === 'UNSUPPORTED_EVIDENCE') throw cause;
    const why = `neither an attestation report (${reportLength} bytes) nor a CMW collection`;
    throw new CvmpError('MALFORMED', `${why}: ${cause.message}`, { cause });
  }
}

const hex = (value: number | bigint) => `0x${value.toString(16)}`;

function flags(value: bigint, names: Readonly<Record<string, bigint>>): string {
  const set = Object.entries(names).filter(([, bit]) => (value & bit) !== 0n);
  return set.map(([name]) => name).join(' ');
}

/** A TCB_VERSION by its components where the product is known, else as its raw bytes. */
function tcbTree(product: SnpProduct | undefined, bytes: Uint8Array): string | Tree {
  if (product === undefined) return toHex(bytes);
  try {
    return { ...decodeTcb(product, bytes, 'TCB') };
  } catch {
    return toHex(bytes);
  }
}

/** Every field of a report under the ABI's name (SEV-SNP ABI, ATTESTATION_REPORT). */
export function reportTree(report: SnpReport): Tree {
  const { cpuid, keyInfo, guestPolicy, platformInfo } = report;
  const product = cpuid === undefined ? undefined : productOf(cpuid);
  const firmware = (v: SnpReport['currentFirmware']) => `${v.major}.${v.minor}.${v.build}`;
  return {
    VERSION: report.version,
    GUEST_SVN: report.guestSvn,
    POLICY: {
      value: hex(guestPolicy),
      abi: `${(guestPolicy >> 8n) & 0xffn}.${guestPolicy & 0xffn}`,
      flags: flags(guestPolicy, guestPolicyBits),
    },
    FAMILY_ID: toHex(report.familyId),
    IMAGE_ID: toHex(report.imageId),
    VMPL: report.vmpl,
    SIGNATURE_ALGO: report.signatureAlgo,
    PLATFORM_INFO: { value: hex(platformInfo), flags: flags(platformInfo, platformInfoBits) },
    KEY_INFO: {
      SIGNING_KEY: keyInfo.signingKey,
      AUTHOR_KEY_EN: keyInfo.authorKeyEn,
      MASK_CHIP_KEY: keyInfo.maskChipKey,
    },
    REPORT_DATA: toHex(report.reportData),
    MEASUREMENT: toHex(report.measurement),
    HOST_DATA: toHex(report.hostData),
    ID_KEY_DIGEST: toHex(report.idKeyDigest),
    AUTHOR_KEY_DIGEST: toHex(report.authorKeyDigest),
    REPORT_ID: toHex(report.reportId),
    REPORT_ID_MA: toHex(report.reportIdMa),
    CPUID:
      cpuid === undefined
        ? 'not in this version'
        : {
            product: product ?? 'unknown',
            family: hex(cpuid.family),
            model: hex(cpuid.model),
            stepping: cpuid.stepping,
          },
    CHIP_ID: toHex(report.chipId),
    CURRENT_TCB: tcbTree(product, report.currentTcb),
    REPORTED_TCB: tcbTree(product, report.reportedTcb),
    COMMITTED_TCB: tcbTree(product, report.committedTcb),
    LAUNCH_TCB: tcbTree(product, report.launchTcb),
    CURRENT_FIRMWARE: firmware(report.currentFirmware),
    COMMITTED_FIRMWARE: firmware(report.committedFirmware),
    LAUNCH_MIT_VECTOR: hex(report.launchMitVector),
    CURRENT_MIT_VECTOR: hex(report.currentMitVector),
    SIGNATURE: isZero(report.signatureR) ? 'zero' : `${toHex(report.signatureR.slice(0, 8))}…`,
  };
}

/** What a certificate says of itself. */
export function certificateTree(der: Uint8Array): Tree {
  const certificate = parseCertificate(der);
  const time = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');
  return {
    subject: certificate.subject.text,
    issuer: certificate.issuer.text,
    not_before: time(certificate.notBefore),
    not_after: time(certificate.notAfter),
    sha256: toHex(crypto.hash('sha256', der)),
  };
}

/** Indented lines; empty texts as `-`. */
export function treeText(tree: Tree, indent = ''): string {
  const width = Math.max(...Object.keys(tree).map((name) => name.length)) + 2;
  return Object.entries(tree)
    .map(([name, value]) => {
      if (typeof value === 'object') return `${indent}${name}:\n${treeText(value, `${indent}  `)}`;
      return `${indent}${`${name}:`.padEnd(width)}${value === '' ? '-' : value}`;
    })
    .join('\n');
}
