import { crypto } from '#crypto';
import { ByteReader, equalBytes, fromBase64Url, fromHex, fromUtf8, isZero } from '../../bytes.js';
import type { HashName } from '../../crypto.js';
import { CvmpError } from '../../errors.js';
import { rsaSpki } from '../public-area.js';

/**
 * Azure's HCL report (NV index 0x01400001): the paravisor's statement of the AK of its vTPM, with
 * the hardware report made over it. Parsed, not trusted.
 */
export interface HclReport {
  /** What the hardware report is. */
  readonly hardware: 'snp' | 'tdx';
  /** SNP ATTESTATION_REPORT (1184 bytes), or TDREPORT (1024 bytes) with zeros behind. */
  readonly hardwareReport: Uint8Array;
  readonly hash: HashName;
  /** JSON that the hardware's report data is the digest of, as received. */
  readonly runtimeData: Uint8Array;
  /** DER SubjectPublicKeyInfo of the AK. */
  readonly akSpki: Uint8Array;
  /** 64 bytes that the guest wrote (NV index 0x01400002); zero where it wrote none. */
  readonly userData: Uint8Array;
}

/** "HCLA" */
const signature = 0x414c4348;
const versions: readonly number[] = [1, 2];
/** Request type of an attestation report. */
const attestation = 2;
const hardwareReportLength = 1184;
/** data_size counts the runtime data with the 20 bytes that describe it. */
const dataHeaderLength = 20;
const bytesMax = 16 * 1024;

const hardwareTypes: Readonly<Record<number, HclReport['hardware']>> = { 2: 'snp', 4: 'tdx' };
const hashTypes: Readonly<Record<number, HashName>> = { 1: 'sha256', 2: 'sha384', 3: 'sha512' };

const field = 'hcl_report';

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_EVIDENCE */
export function parseHclReport(bytes: Uint8Array): HclReport {
  if (bytes.length > bytesMax) throw new CvmpError('SIZE', `HCL report of ${bytes.length} bytes`);
  const reader = new ByteReader(bytes, 'little');
  const magic = reader.u32(field);
  const version = reader.u32(field);
  reader.u32(field);
  const request = reader.u32(field);
  reader.take(16, field);
  if (magic !== signature || request !== attestation) throw malformed('is no attestation report');
  if (!versions.includes(version)) {
    throw new CvmpError('UNSUPPORTED_VERSION', `HCL report version ${version}`, { field });
  }
  const hardwareReport = reader.take(hardwareReportLength, field);
  const dataSize = reader.u32(field);
  reader.u32(field);
  const hardware = hardwareTypes[reader.u32(field)];
  const hash = hashTypes[reader.u32(field)];
  const runtimeLength = reader.u32(field);
  if (hardware === undefined) {
    throw new CvmpError('UNSUPPORTED_EVIDENCE', 'HCL report around another hardware report', {
      field,
    });
  }
  if (hash === undefined || dataSize !== dataHeaderLength + runtimeLength) {
    throw malformed('has runtime data of unknown hash or length');
  }
  // The NV index is larger than the report; what follows it means nothing.
  const runtimeData = reader.take(runtimeLength, field);
  return { hardware, hardwareReport, hash, runtimeData, ...readRuntimeData(runtimeData) };
}

/**
 * The hardware's report was made over exactly this runtime data, so the AK in it is the paravisor's
 * of this guest.
 * @param reportData of a verified hardware report, 64 bytes
 * @throws CvmpError RUNTIME_DATA_MISMATCH
 */
export function verifyRuntimeData({ hash, runtimeData }: HclReport, reportData: Uint8Array): void {
  const digest = crypto.hash(hash, runtimeData);
  const rest = reportData.subarray(digest.length);
  if (equalBytes(reportData.subarray(0, digest.length), digest) && isZero(rest)) return;
  throw new CvmpError(
    'RUNTIME_DATA_MISMATCH',
    'the report data of the hardware is not the digest of the runtime data',
    { field: 'hcl_report.runtime_data' },
  );
}

const akId = 'HCLAkPub';

function readRuntimeData(bytes: Uint8Array): Pick<HclReport, 'akSpki' | 'userData'> {
  let json: unknown;
  try {
    json = JSON.parse(fromUtf8(bytes, field));
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'the runtime data is not JSON', { field, cause });
  }
  const { keys, 'user-data': userData } = asObject(json);
  if (!Array.isArray(keys)) throw malformed('has no keys');
  const aks = keys.map(asObject).filter((key) => key.kid === akId);
  const [ak] = aks;
  if (ak === undefined || aks.length > 1) throw malformed(`has ${aks.length} keys ${akId}`);
  if (ak.kty !== 'RSA' || typeof ak.n !== 'string' || typeof ak.e !== 'string') {
    throw malformed('has an AK that is no RSA key');
  }
  const [n, e] = [fromBase64Url(ak.n, field), fromBase64Url(ak.e, field)];
  if (n.length < 256 || n.length > 512 || e.length === 0 || e.length > 4) {
    throw malformed(`has an AK of ${8 * n.length} bits`);
  }
  return { akSpki: rsaSpki(n, e), userData: readUserData(userData) };
}

/** Absent before version 2 of the evidence. */
function readUserData(value: unknown): Uint8Array {
  const userData = value === undefined ? new Uint8Array(64) : fromHex(String(value), field);
  if (userData.length !== 64) throw malformed(`has ${userData.length} bytes of user data`);
  return userData;
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw malformed('has runtime data of another shape');
}

function malformed(what: string): CvmpError {
  return new CvmpError('MALFORMED', `HCL report ${what}`, { field });
}
