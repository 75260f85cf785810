import { ByteReader, toHex } from '../bytes.js';
import { CvmpError } from '../errors.js';
import {
  attestationKeyLength,
  type BodyType,
  bodyLength,
  bodyTypes,
  ecdsaP256,
  headerLength,
  intelQeVendorId,
  qeReportCertification,
  qeReportLength,
  quoteBytesMax,
  signatureLength,
  teeTypeTdx,
} from './layout.js';
import { readSgxReport, readTdReport, type SgxReport, type TdReport } from './report.js';

/** A TDX Quote (Intel TDX DCAP Quoting Library API, appendix 3). Parsed, not trusted. */
export interface TdxQuote {
  readonly version: 4 | 5;
  readonly bodyType: BodyType;
  /** 20 bytes that the Quoting Enclave chose; the first 16 name its platform. */
  readonly userData: Uint8Array;
  readonly td: TdReport;
  /** Header, body descriptor in version 5, body: what the attestation key signed. */
  readonly signedBytes: Uint8Array;
  /** Raw r || s by the attestation key (64 bytes). */
  readonly signature: Uint8Array;
  /** X || Y on P-256 (64 bytes). */
  readonly attestationKey: Uint8Array;
  readonly qeReport: SgxReport;
  /** The report of the Quoting Enclave as the PCK signed it (384 bytes). */
  readonly qeReportBytes: Uint8Array;
  /** Raw r || s by the PCK (64 bytes). */
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  /** 5: PEM chain of the PCK; 1 to 4: names of a platform whose chain must come from elsewhere. */
  readonly certificationType: number;
  readonly certificationData: Uint8Array;
  /** Unsigned bytes after the quote; files are often padded. */
  readonly trailingBytes: number;
}

/**
 * Parses a quote of version 4 or 5 (protocol.md s.3.1, s.3.2 step 1).
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_EVIDENCE (not a TD, not
 *   Intel's Quoting Enclave), UNSUPPORTED_SIGNATURE_ALGO
 */
export function parseTdxQuote(bytes: Uint8Array): TdxQuote {
  if (bytes.length > quoteBytesMax) {
    throw new CvmpError('SIZE', `quote has ${bytes.length} bytes, at most ${quoteBytesMax}`);
  }
  const reader = new ByteReader(bytes, 'little');
  const { version, userData } = readHeader(reader);
  const bodyType = version === 4 ? 'TD 1.0' : readBodyDescriptor(reader);
  const td = readTdReport(reader.view(bodyLength[bodyType], 'quote.body'), bodyType);
  const signedBytes = bytes.slice(0, reader.offset);
  const signatureData = reader.view(reader.u32('quote.signature_length'), 'quote.signature_data');
  return {
    version,
    bodyType,
    userData,
    td,
    signedBytes,
    ...readSignatureData(signatureData),
    trailingBytes: reader.remaining,
  };
}

function readHeader(reader: ByteReader): { version: 4 | 5; userData: Uint8Array } {
  const version = reader.u16('quote.version');
  if (version !== 4 && version !== 5) {
    throw new CvmpError('UNSUPPORTED_VERSION', `quote version ${version}, not 4 or 5`, {
      field: 'quote.version',
    });
  }
  const keyType = reader.u16('quote.attestation_key_type');
  const teeType = reader.u32('quote.tee_type');
  reader.take(4, 'quote.reserved');
  const vendor = toHex(reader.take(16, 'quote.qe_vendor_id'));
  const userData = reader.take(headerLength - reader.offset, 'quote.user_data');
  if (teeType !== teeTypeTdx) {
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `quote of TEE type ${teeType}, not a TD`, {
      field: 'quote.tee_type',
    });
  }
  if (keyType !== ecdsaP256) {
    throw new CvmpError('UNSUPPORTED_SIGNATURE_ALGO', `attestation key of type ${keyType}`, {
      field: 'quote.attestation_key_type',
    });
  }
  if (vendor !== intelQeVendorId) {
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `quoting enclave of vendor ${vendor}`, {
      field: 'quote.qe_vendor_id',
    });
  }
  return { version, userData };
}

function readBodyDescriptor(reader: ByteReader): BodyType {
  const type = reader.u16('quote.body_type');
  const size = reader.u32('quote.body_size');
  const bodyType = bodyTypes[type];
  if (bodyType === undefined || size !== bodyLength[bodyType]) {
    throw new CvmpError('MALFORMED', `quote body of type ${type} with ${size} bytes`, {
      field: 'quote.body_type',
    });
  }
  return bodyType;
}

type SignatureData = Pick<
  TdxQuote,
  | 'signature'
  | 'attestationKey'
  | 'qeReport'
  | 'qeReportBytes'
  | 'qeReportSignature'
  | 'qeAuthData'
  | 'certificationType'
  | 'certificationData'
>;

/** ECDSA signature data; every length inside must fill what is around it exactly. */
function readSignatureData(bytes: Uint8Array): SignatureData {
  const outer = new ByteReader(bytes, 'little');
  const signature = outer.take(signatureLength, 'quote.signature');
  const attestationKey = outer.take(attestationKeyLength, 'quote.attestation_key');
  const outerType = outer.u16('quote.certification_type');
  if (outerType !== qeReportCertification) {
    throw new CvmpError('MALFORMED', `certification data of type ${outerType}, not 6`, {
      field: 'quote.certification_type',
    });
  }
  const inner = new ByteReader(
    outer.view(outer.u32('quote.certification_size'), 'quote.certification_data'),
    'little',
  );
  outer.end('quote.signature_data');
  const qeReportBytes = inner.take(qeReportLength, 'quote.qe_report');
  const qeReportSignature = inner.take(signatureLength, 'quote.qe_report_signature');
  const qeAuthData = inner.take(inner.u16('quote.qe_auth_length'), 'quote.qe_auth_data');
  const certificationType = inner.u16('quote.qe_certification_type');
  const certificationData = inner.take(
    inner.u32('quote.qe_certification_size'),
    'quote.qe_certification_data',
  );
  inner.end('quote.certification_data');
  return {
    signature,
    attestationKey,
    qeReport: readSgxReport(qeReportBytes),
    qeReportBytes,
    qeReportSignature,
    qeAuthData,
    certificationType,
    certificationData,
  };
}
