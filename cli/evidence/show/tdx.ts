import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { readPckPlatform } from '#core/tdx/endorsement/pck.js';
import { pckChainOf } from '#core/tdx/endorsement/pck-chain.js';
import { tdAttribute } from '#core/tdx/layout.js';
import { parseTdxQuote, type TdxQuote } from '#core/tdx/parse.js';
import type { TdReport } from '#core/tdx/report.js';
import type { Tree } from '../tree.js';
import { certificateTree } from './certificates.js';

const hex = (value: bigint) => `0x${value.toString(16)}`;

/** Every field of a quote (Intel TDX DCAP Quoting Library API, appendix 3). */
export function quoteTree(bytes: Uint8Array): Tree {
  const quote = parseTdxQuote(bytes);
  const { qeReport } = quote;
  return {
    VERSION: quote.version,
    body: quote.bodyType,
    ...reportTree(quote.td),
    qe_user_data: toHex(quote.userData),
    signature: `${toHex(quote.signature.slice(0, 8))}…`,
    attestation_key: toHex(quote.attestationKey),
    QE_REPORT: {
      MRSIGNER: toHex(qeReport.mrSigner),
      ATTRIBUTES: toHex(qeReport.attributes),
      MISCSELECT: toHex(qeReport.miscSelect),
      ISVPRODID: qeReport.isvProdId,
      ISVSVN: qeReport.isvSvn,
      REPORTDATA: toHex(qeReport.reportData),
    },
    qe_auth_data: toHex(quote.qeAuthData),
    certification_type: quote.certificationType,
    ...platformTree(quote),
    ...(quote.trailingBytes === 0 ? {} : { trailing_bytes: quote.trailingBytes }),
  };
}

/** Every field of a TD report. */
export function reportTree(td: TdReport): Tree {
  const set = Object.entries(tdAttribute).filter(([, bit]) => (td.tdAttributes & bit) !== 0n);
  return {
    TEE_TCB_SVN: toHex(td.teeTcbSvn),
    MRSEAM: toHex(td.mrSeam),
    MRSIGNERSEAM: toHex(td.mrSignerSeam),
    SEAM_ATTRIBUTES: hex(td.seamAttributes),
    TDATTRIBUTES: { value: hex(td.tdAttributes), flags: set.map(([name]) => name).join(' ') },
    XFAM: hex(td.xfam),
    MRTD: toHex(td.mrTd),
    MRCONFIGID: toHex(td.mrConfigId),
    MROWNER: toHex(td.mrOwner),
    MROWNERCONFIG: toHex(td.mrOwnerConfig),
    ...Object.fromEntries(td.rtmr.map((value, i) => [`RTMR${i}`, toHex(value)])),
    REPORTDATA: toHex(td.reportData),
    ...(td.teeTcbSvn2 === undefined ? {} : { TEE_TCB_SVN2: toHex(td.teeTcbSvn2) }),
    ...(td.mrServiceTd === undefined ? {} : { MRSERVICETD: toHex(td.mrServiceTd) }),
  };
}

/** The platform by its PCK certificate, where the quote carries one that can be read. */
function platformTree(quote: TdxQuote): Tree {
  try {
    const { pck, ca, root } = pckChainOf(quote);
    const platform = readPckPlatform(pck);
    const chain = [pck, ca, ...(root === undefined ? [] : [root])];
    return {
      platform: {
        FMSPC: toHex(platform.fmspc),
        PPID: toHex(platform.ppid),
        PCEID: toHex(platform.pceId),
        PCESVN: platform.pceSvn,
        tcb_components: platform.components.join(' '),
      },
      ...Object.fromEntries(
        chain.map(({ der }, i) => [`certificate ${i + 1}`, certificateTree(der)]),
      ),
    };
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { platform: error.message };
  }
}
