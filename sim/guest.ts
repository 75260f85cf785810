import { CvmpError } from '#core/errors.js';
import {
  type CertTableEntry,
  encodeCertTable,
  parseCertTable,
} from '#core/snp/endorsement/cert-table.js';
import type { SnpTcb } from '#core/snp/product.js';
import { encodeTcb } from '#core/snp/product.js';
import { encodeReport, keyInfo, type ReportValues, signReport } from './report.js';
import type { SecurityProcessor } from './security-processor.js';

/** What the processor remembers of a guest from its launch on. */
export interface LaunchedGuest {
  readonly measurement: Uint8Array;
  readonly guestPolicy: bigint;
  readonly hostData: Uint8Array;
  readonly reportId: Uint8Array;
  readonly launchTcb: SnpTcb;
  readonly launchMitigations: bigint;
  readonly guestSvn: number;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array | undefined;
  /** REPORT_ID_MA (32 bytes): the migration agent that it is bound to. */
  readonly migrationAgent: Uint8Array | undefined;
}

/** What SNP_GUEST_REQUEST MSG_REPORT_REQ asks. */
export interface ReportRequest {
  /** REPORT_DATA, 64 bytes. */
  readonly reportData: Uint8Array;
  /** 0 to 3. */
  readonly vmpl: number;
  /** Fields to falsify before signing, for hostile evidence in tests. */
  readonly overrides?: ReportValues;
}

/** An extended report: what the processor signed and what the host adds. */
export interface ExtendedReport {
  /** ATTESTATION_REPORT, 1184 bytes. */
  readonly report: Uint8Array;
  /** Certificate table: endorsement key, its issuer, the root. */
  readonly certTable: Uint8Array;
}

/** A launched guest, as its own kernel reaches the processor. */
export class SimulatedGuest {
  #launched: LaunchedGuest;
  #processor: SecurityProcessor;

  constructor(launched: LaunchedGuest, processor: SecurityProcessor) {
    this.#launched = launched;
    this.#processor = processor;
  }

  get launched(): LaunchedGuest {
    return this.#launched;
  }

  /** MEASUREMENT, 48 bytes. */
  get measurement(): Uint8Array {
    return this.launched.measurement;
  }

  /**
   * Moves the running guest to another processor, as a migration agent does: it keeps its REPORT_ID,
   * and its LAUNCH_TCB is that of the import (SEV-SNP ABI, guest migration).
   * @throws CvmpError LAUNCH_REFUSED where the guest is bound to no agent
   */
  migrate(to: SecurityProcessor): void {
    if (this.#launched.migrationAgent === undefined) {
      throw new CvmpError('LAUNCH_REFUSED', 'the guest is bound to no migration agent');
    }
    const { tcb: launchTcb, mitigationVector: launchMitigations } = to.settings;
    this.#launched = { ...this.#launched, launchTcb, launchMitigations };
    this.#processor = to;
  }

  /** A signed report in the true format, under the processor's settings of now. */
  async report({ reportData, vmpl, overrides = {} }: ReportRequest): Promise<ExtendedReport> {
    const { launched } = this;
    const { chip, settings, product } = this.#processor;
    const reportedTcb = settings.reportedTcb ?? settings.tcb;
    const endorsement =
      settings.cspId === undefined
        ? await chip.vcek(reportedTcb)
        : await chip.vlek(reportedTcb, settings.cspId);
    const values: ReportValues = {
      ...this.#processor.platformValues(),
      GUEST_SVN: launched.guestSvn,
      POLICY: launched.guestPolicy,
      FAMILY_ID: launched.familyId,
      IMAGE_ID: launched.imageId,
      VMPL: vmpl,
      KEY_INFO: keyInfo({
        signingKey: settings.cspId === undefined ? 'VCEK' : 'VLEK',
        authorKeyEn: launched.authorKeyDigest !== undefined,
      }),
      REPORT_DATA: reportData,
      MEASUREMENT: launched.measurement,
      HOST_DATA: launched.hostData,
      ID_KEY_DIGEST: launched.idKeyDigest,
      AUTHOR_KEY_DIGEST: launched.authorKeyDigest ?? new Uint8Array(48),
      REPORT_ID: launched.reportId,
      REPORT_ID_MA: launched.migrationAgent ?? new Uint8Array(32).fill(0xff),
      LAUNCH_TCB: encodeTcb(product, launched.launchTcb),
      LAUNCH_MIT_VECTOR: launched.launchMitigations,
      ...overrides,
    };
    const report = await signReport(encodeReport(values), endorsement.key);
    return { report, certTable: withCrls(endorsement.certTable, settings.crls) };
  }
}

/** What the host adds to a certificate table. */
function withCrls(certTable: Uint8Array, crls: readonly Uint8Array[]): Uint8Array {
  if (crls.length === 0) return certTable;
  const lists = crls.map((data): CertTableEntry => ({ kind: 'CRL', data }));
  return encodeCertTable([...parseCertTable(certTable), ...lists]);
}
