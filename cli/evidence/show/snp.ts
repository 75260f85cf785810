import { isZero, toHex } from '#core/bytes.js';
import { guestPolicyBits, platformInfoBits } from '#core/snp/layout.js';
import type { SnpReport } from '#core/snp/parse.js';
import { decodeTcb, productOf, type SnpProduct } from '#core/snp/product.js';
import type { Tree } from '../tree.js';

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
