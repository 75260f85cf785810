import { ccaCollection } from '#core/cca/evidence.js';
import { parseCcaToken } from '#core/cca/token.js';
import type { ConfigBinding } from '#core/rats/claims.js';
import type { CmwCollection } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { snpCollection } from '#core/snp/evidence.js';
import { parseReport } from '#core/snp/parse.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import type { TsmProvider } from '../config-attester.js';
import type { TsmReport } from './tsm.js';

/** What the agent reads of its own report. */
export interface OwnReport {
  readonly configBinding: ConfigBinding;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
}

/** One kind of hardware evidence, as configfs-tsm gives it. */
export interface HardwareKind {
  /** Label of the evidence. */
  readonly profile: string;
  /** Whether a CC event log of the firmware belongs to it. */
  readonly hasEventLog: boolean;
  /** @throws CvmpError where `outblob` is not of this kind */
  readOwn(outblob: Uint8Array): OwnReport;
  collect(report: TsmReport, eventLog: Uint8Array | undefined): CmwCollection;
}

const snp: HardwareKind = {
  profile: 'snp',
  hasEventLog: false,
  readOwn(outblob) {
    const { hostData, reportData } = parseReport(outblob);
    return {
      configBinding: { field: 'HOST_DATA', hash: 'sha256', digest: hostData },
      reportData,
    };
  },
  collect: ({ outblob, auxblob }) => snpCollection(outblob, auxblob),
};

const tdx: HardwareKind = {
  profile: 'tdx',
  hasEventLog: true,
  readOwn(outblob) {
    const { mrConfigId, reportData } = parseTdxQuote(outblob).td;
    return {
      configBinding: { field: 'MRCONFIGID', hash: 'sha384', digest: mrConfigId },
      reportData,
    };
  },
  // Collateral is the verifier's to fetch: the guest has no way to Intel.
  collect: ({ outblob }, eventLog) => tdxCollection(outblob, noEndorsements, eventLog),
};

const cca: HardwareKind = {
  profile: 'cca',
  hasEventLog: false,
  readOwn(outblob) {
    const { personalizationValue, challenge } = parseCcaToken(outblob).realm.claims;
    return {
      configBinding: { field: 'RPV', hash: 'sha512', digest: personalizationValue },
      reportData: challenge,
    };
  },
  collect: ({ outblob }) => ccaCollection(outblob),
};

/** By the provider that the TSM names. */
export const hardwareKinds: Readonly<Record<TsmProvider, HardwareKind>> = {
  sev_guest: snp,
  tdx_guest: tdx,
  arm_cca_guest: cca,
};

export function isTsmProvider(name: string): name is TsmProvider {
  return Object.hasOwn(hardwareKinds, name);
}
