import { toHex } from '#core/bytes.js';
import type { PckPlatform } from '#core/tdx/endorsement/pck.js';
import type { LevelStatus } from '#core/tdx/endorsement/tcb-info.js';
import type { TdxQuote } from '#core/tdx/parse.js';
import type { TdReport } from '#core/tdx/report.js';
import type { TcbEvaluation } from '#core/tdx/tcb.js';
import type { Certificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import type { JsonObject } from '../../judge.js';

// Renders what core parsed in the words of the vectors' expected.json, for comparison.

export const instant = (at: number) => new Date(at).toISOString().replace('.000Z', 'Z');

/** Hex of a 64-bit word in the byte order of the file. */
function littleEndian(word: bigint): string {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, word, true);
  return toHex(bytes);
}

/** @param length of the whole file */
export function quoteFieldsJson(quote: TdxQuote, length: number): JsonObject {
  const quoteLength = length - quote.trailingBytes;
  const signedBytes = quote.signedBytes.length;
  return {
    version: quote.version,
    user_data: toHex(quote.userData),
    ...(quote.version === 4 ? {} : { body_type: quote.bodyType === 'TD 1.0' ? 2 : 3 }),
    ...tdReportJson(quote.td),
    signature_data_length: quoteLength - signedBytes - 4,
    signed_bytes: signedBytes,
    quote_length: quoteLength,
    trailing_bytes: quote.trailingBytes,
    inner_certification_data_type: quote.certificationType,
    qe_auth_data_length: quote.qeAuthData.length,
    qe_report: {
      mrsigner: toHex(quote.qeReport.mrSigner),
      mrenclave: toHex(quote.qeReport.mrEnclave),
      attributes: toHex(quote.qeReport.attributes),
      miscselect: toHex(quote.qeReport.miscSelect),
      isv_prod_id: quote.qeReport.isvProdId,
      isv_svn: quote.qeReport.isvSvn,
      report_data: toHex(quote.qeReport.reportData),
    },
  };
}

function tdReportJson(td: TdReport): JsonObject {
  const is15 = td.teeTcbSvn2 !== undefined && td.mrServiceTd !== undefined;
  return {
    tee_tcb_svn: toHex(td.teeTcbSvn),
    mrseam: toHex(td.mrSeam),
    mrsignerseam: toHex(td.mrSignerSeam),
    seam_attributes: littleEndian(td.seamAttributes),
    td_attributes: littleEndian(td.tdAttributes),
    td_attributes_debug: (td.tdAttributes & 1n) === 1n,
    xfam: littleEndian(td.xfam),
    mrtd: toHex(td.mrTd),
    mrconfigid: toHex(td.mrConfigId),
    mrowner: toHex(td.mrOwner),
    mrownerconfig: toHex(td.mrOwnerConfig),
    ...Object.fromEntries(td.rtmr.map((register, i) => [`rtmr${i}`, toHex(register)])),
    report_data: toHex(td.reportData),
    ...(is15 ? { tee_tcb_svn2: toHex(td.teeTcbSvn2), mrservicetd: toHex(td.mrServiceTd) } : {}),
  };
}

export function platformJson(platform: PckPlatform, issuer: string): JsonObject {
  return {
    fmspc: toHex(platform.fmspc),
    pceid: toHex(platform.pceId),
    ppid: toHex(platform.ppid),
    tcb_components: [...platform.components],
    pcesvn: platform.pceSvn,
    issuer,
  };
}

export function certificateJson(certificate: Certificate): JsonObject {
  return {
    subject: certificate.subject.text,
    issuer: certificate.issuer.text,
    serial_hex: toHex(certificate.serial).toUpperCase(),
    not_before: instant(certificate.notBefore),
    not_after: instant(certificate.notAfter),
    sha256: toHex(crypto.hash('sha256', certificate.der)),
    spki_sha256: toHex(crypto.hash('sha256', certificate.spki)),
  };
}

const unmatched = 'no matching TCB level';

/** `tcb_evaluation` and `qe_evaluation` of a case. */
export function evaluationJson(tcb: TcbEvaluation, teeTcbSvn: Uint8Array): JsonObject {
  const { module, platform, qe } = tcb;
  const versioned =
    module.id === undefined
      ? {}
      : { isv_svn: teeTcbSvn[0]!, ...levelJson(module.level, 'advisory_ids') };
  return {
    tcb_evaluation: {
      // Reaching here means that signer and attributes of the module were those of the identity.
      tdx_module: { id: module.id ?? null, mrsigner_matches: true, ...versioned },
      platform: levelJson(platform, 'tcb_date', 'advisory_ids'),
    },
    qe_evaluation: levelJson(qe, 'tcb_date'),
  };
}

function levelJson(
  level: LevelStatus | undefined,
  ...more: readonly ('tcb_date' | 'advisory_ids')[]
): JsonObject {
  if (level === undefined) return { status: unmatched };
  const all = { tcb_date: instant(level.tcbDate), advisory_ids: [...level.advisoryIds] };
  return { status: level.status, ...Object.fromEntries(more.map((key) => [key, all[key]])) };
}
