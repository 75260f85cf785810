import { ByteReader } from '../bytes.js';
import type { BodyType } from './layout.js';

/** The TD report inside of a quote (Intel TDX DCAP Quoting Library API, A.3.2). */
export interface TdReport {
  /** Security versions that the TD was launched under, 16 bytes: module isvsvn, version, ... */
  readonly teeTcbSvn: Uint8Array;
  /** Measurement of the TDX module (48 bytes). */
  readonly mrSeam: Uint8Array;
  /** Signer of the TDX module (48 bytes); zero is Intel. */
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: bigint;
  readonly tdAttributes: bigint;
  readonly xfam: bigint;
  /** Launch measurement (48 bytes). */
  readonly mrTd: Uint8Array;
  /** 48 bytes by the host; CVMP: SHA-384 of the config document. */
  readonly mrConfigId: Uint8Array;
  /** 48 bytes by the host. */
  readonly mrOwner: Uint8Array;
  /** 48 bytes by the host. */
  readonly mrOwnerConfig: Uint8Array;
  /** Runtime measurement registers 0 to 3, 48 bytes each. */
  readonly rtmr: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** 64 bytes by the guest. */
  readonly reportData: Uint8Array;
  /** TDX 1.5 only: security versions of the module that is loaded now (16 bytes). */
  readonly teeTcbSvn2: Uint8Array | undefined;
  /** TDX 1.5 only: the service TD bound to this one (48 bytes), zero where there is none. */
  readonly mrServiceTd: Uint8Array | undefined;
}

/** @throws CvmpError MALFORMED unless `bytes` has the length of the body type */
export function readTdReport(bytes: Uint8Array, bodyType: BodyType): TdReport {
  const reader = new ByteReader(bytes, 'little');
  const register = (field: string) => reader.take(48, `td_report.${field}`);
  const report = {
    teeTcbSvn: reader.take(16, 'td_report.tee_tcb_svn'),
    mrSeam: register('mrseam'),
    mrSignerSeam: register('mrsignerseam'),
    seamAttributes: reader.u64('td_report.seam_attributes'),
    tdAttributes: reader.u64('td_report.td_attributes'),
    xfam: reader.u64('td_report.xfam'),
    mrTd: register('mrtd'),
    mrConfigId: register('mrconfigid'),
    mrOwner: register('mrowner'),
    mrOwnerConfig: register('mrownerconfig'),
    rtmr: [register('rtmr0'), register('rtmr1'), register('rtmr2'), register('rtmr3')],
    reportData: reader.take(64, 'td_report.report_data'),
  } as const;
  const is15 = bodyType === 'TD 1.5';
  const teeTcbSvn2 = is15 ? reader.take(16, 'td_report.tee_tcb_svn2') : undefined;
  const mrServiceTd = is15 ? register('mrservicetd') : undefined;
  reader.end('td_report');
  return { ...report, teeTcbSvn2, mrServiceTd };
}

/** What CVMP reads of an SGX REPORTBODY (Intel SDM vol. 3D, table 39-21). */
export interface SgxReport {
  readonly miscSelect: Uint8Array;
  /** ATTRIBUTES with XFRM (16 bytes). */
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
}

/** @param bytes 384 bytes; @throws CvmpError MALFORMED */
export function readSgxReport(bytes: Uint8Array): SgxReport {
  const reader = new ByteReader(bytes, 'little');
  const skip = (length: number) => reader.view(length, 'qe_report.reserved');
  reader.view(16, 'qe_report.cpusvn');
  const miscSelect = reader.take(4, 'qe_report.miscselect');
  skip(28);
  const attributes = reader.take(16, 'qe_report.attributes');
  const mrEnclave = reader.take(32, 'qe_report.mrenclave');
  skip(32);
  const mrSigner = reader.take(32, 'qe_report.mrsigner');
  skip(96);
  const isvProdId = reader.u16('qe_report.isvprodid');
  const isvSvn = reader.u16('qe_report.isvsvn');
  skip(60);
  const reportData = reader.take(64, 'qe_report.report_data');
  reader.end('qe_report');
  return { miscSelect, attributes, mrEnclave, mrSigner, isvProdId, isvSvn, reportData };
}
