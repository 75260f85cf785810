import { concat, isZero, reversed, toHex } from '#core/bytes.js';
import { readEndorsementKeyInfo } from '#core/snp/endorsement/extensions.js';
import {
  guestPolicyBits,
  platformInfoBits,
  reportLength,
  scalarLength,
  signatureFields,
} from '#core/snp/layout.js';
import { type FirmwareVersion, parseReport, type SnpReport } from '#core/snp/parse.js';
import { decodeTcb, productOf, products, type SnpProduct } from '#core/snp/product.js';
import type { Certificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import type { JsonObject } from '../../judge.js';

// Renders what core parsed in the words of the vectors' expected.json, for comparison.

const hex64 = (value: bigint) => value.toString(16).padStart(16, '0');

/** Fields of a report; without CPUID the product comes from elsewhere, Milan's layout otherwise. */
export function reportFieldsJson(bytes: Uint8Array, endorsed?: SnpProduct): JsonObject {
  const report = parseReport(bytes);
  const product = (report.cpuid && productOf(report.cpuid)) ?? endorsed ?? 'Milan';
  const tcb = (raw: Uint8Array) => tcbJson(product, raw);
  return {
    version: report.version,
    guest_svn: report.guestSvn,
    policy: policyJson(report.guestPolicy),
    family_id: toHex(report.familyId),
    image_id: toHex(report.imageId),
    vmpl: report.vmpl,
    signature_algo: report.signatureAlgo,
    current_tcb: tcb(report.currentTcb),
    platform_info: platformJson(report.platformInfo),
    key_info: {
      raw: report.keyInfo.raw,
      author_key_en: report.keyInfo.authorKeyEn,
      mask_chip_key: report.keyInfo.maskChipKey,
      signing_key_name: report.keyInfo.signingKey,
    },
    report_data: toHex(report.reportData),
    measurement: toHex(report.measurement),
    host_data: toHex(report.hostData),
    id_key_digest: toHex(report.idKeyDigest),
    author_key_digest: toHex(report.authorKeyDigest),
    report_id: toHex(report.reportId),
    report_id_ma: toHex(report.reportIdMa),
    reported_tcb: tcb(report.reportedTcb),
    ...(report.cpuid === undefined
      ? {}
      : {
          cpuid_family_id: report.cpuid.family,
          cpuid_model_id: report.cpuid.model,
          cpuid_stepping: report.cpuid.stepping,
        }),
    chip_id: toHex(report.chipId),
    committed_tcb: tcb(report.committedTcb),
    current_fw: firmwareJson(report.currentFirmware),
    committed_fw: firmwareJson(report.committedFirmware),
    launch_tcb: tcb(report.launchTcb),
    launch_mit_vector_hex_be: hex64(report.launchMitVector),
    current_mit_vector_hex_be: hex64(report.currentMitVector),
    bytes_0x188_0x18a_zero: isZero(bytes.subarray(0x188, 0x18b)),
    bytes_0x1f8_0x29f_zero: isZero(bytes.subarray(0x1f8, 0x2a0)),
    signature: signatureJson(report),
  };
}

function tcbJson(product: SnpProduct, raw: Uint8Array): JsonObject {
  const isTurin = products[product].tcbBytes.fmc !== undefined;
  const { fmc, ...rest } = decodeTcb(product, raw, 'TCB');
  return {
    raw_hex: toHex(raw),
    layout: isTurin ? 'turin' : 'milan-genoa',
    ...(isTurin ? { fmc } : {}),
    ...rest,
    reserved_zero: true,
  };
}

function policyJson(policy: bigint): JsonObject {
  const has = (bit: bigint) => (policy & bit) !== 0n;
  return {
    raw_hex_be: hex64(policy),
    abi_minor: Number(policy & 0xffn),
    abi_major: Number((policy >> 8n) & 0xffn),
    smt_allowed: has(guestPolicyBits.SMT),
    reserved1_must_be_1: has(guestPolicyBits.RESERVED_ONE),
    migrate_ma_allowed: has(guestPolicyBits.MIGRATE_MA),
    debug_allowed: has(guestPolicyBits.DEBUG),
    single_socket_required: has(guestPolicyBits.SINGLE_SOCKET),
    cxl_allowed: has(guestPolicyBits.CXL_ALLOW),
    mem_aes_256_xts_required: has(guestPolicyBits.MEM_AES_256_XTS),
    rapl_disabled_required: has(guestPolicyBits.RAPL_DIS),
    ciphertext_hiding_required: has(guestPolicyBits.CIPHERTEXT_HIDING_DRAM),
    page_swap_disabled: has(guestPolicyBits.PAGE_SWAP_DISABLE),
  };
}

function platformJson(info: bigint): JsonObject {
  const has = (bit: bigint) => (info & bit) !== 0n;
  return {
    raw_hex_be: hex64(info),
    smt_enabled: has(platformInfoBits.SMT_EN),
    tsme_enabled: has(platformInfoBits.TSME_EN),
    ecc_enabled: has(platformInfoBits.ECC_EN),
    rapl_disabled: has(platformInfoBits.RAPL_DIS),
    ciphertext_hiding_enabled: has(platformInfoBits.CIPHERTEXT_HIDING_DRAM_EN),
    alias_check_complete: has(platformInfoBits.ALIAS_CHECK_COMPLETE),
    tio_enabled: has(platformInfoBits.TIO_EN),
  };
}

function firmwareJson({ build, minor, major }: FirmwareVersion): JsonObject {
  return { build, minor, major };
}

function signatureJson({ bytes, signatureR, signatureS }: SnpReport): JsonObject {
  const bigEndian = (scalar: Uint8Array) => toHex(reversed(scalar.subarray(0, scalarLength)));
  const upperZero = (scalar: Uint8Array) => isZero(scalar.subarray(scalarLength));
  const end = signatureFields.S.offset + signatureFields.S.length;
  return {
    r_big_endian_hex: bigEndian(signatureR),
    s_big_endian_hex: bigEndian(signatureS),
    r_upper_24_bytes_zero: upperZero(signatureR),
    s_upper_24_bytes_zero: upperZero(signatureS),
    tail_368_bytes_zero: isZero(bytes.subarray(end, reportLength)),
  };
}

const instant = (at: number) => new Date(at).toISOString().replace('.000Z', 'Z');

/** What every certificate of the vectors is described by. */
export function certificateJson(certificate: Certificate): JsonObject {
  return {
    subject: certificate.subject.text,
    issuer: certificate.issuer.text,
    serial_hex: toHex(certificate.serial),
    not_before: instant(certificate.notBefore),
    not_after: instant(certificate.notAfter),
    sha256: toHex(crypto.hash('sha256', certificate.der)),
    spki_sha256: toHex(crypto.hash('sha256', certificate.spki)),
  };
}

/** The same, with the extensions of an endorsement key. */
export function endorsementKeyJson(certificate: Certificate): JsonObject {
  const key = readEndorsementKeyInfo(certificate);
  const { fmc, ...spl } = key.tcb;
  return {
    ...certificateJson(certificate),
    struct_version: key.structVersion,
    product_name: key.productName,
    tcb_spl: key.hasFmc ? { fmc, ...spl } : spl,
    hwid: key.hwId === undefined ? null : toHex(key.hwId),
    ...(key.hwId === undefined ? {} : { hwid_bytes: key.hwId.length }),
    ...(key.cspId === undefined ? {} : { csp_id: key.cspId }),
  };
}

/** CHIP_ID as it follows from a hwid. */
export function chipIdOf(hwid: Uint8Array): string {
  return toHex(concat(hwid, new Uint8Array(64 - hwid.length)));
}
