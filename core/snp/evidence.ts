import { CvmpError } from '../errors.js';
import type { CmwCollection, CmwRecord } from '../rats/cmw.js';
import { cmwIndicator } from '../rats/cmw.js';
import type { Endorsements } from '../rats/endorsements.js';
import { parseCertTable } from './endorsement/cert-table.js';
import { parseReport, type SnpReport } from './parse.js';

/** Labels of SNP evidence in a CMW collection. */
const reportLabel = 'snp';
const certsLabel = 'snp-certs';

const reportType = 'application/vnd.cvmp.sev-snp-report';
const certsType = 'application/vnd.cvmp.sev-snp-cert-table';

/** A table holds both chains of a product, and its list; each signature that is sent is computed. */
const certificatesMax = 16;
const listsMax = 4;

/** SNP evidence: a report and the endorsements that came along. Parsed, not trusted. */
export interface SnpEvidence {
  readonly report: SnpReport;
  readonly endorsements: Endorsements;
}

/**
 * @param report `outblob` of configfs-tsm: 1184 bytes
 * @param certTable `auxblob` as read, may be empty
 */
export function snpCollection(report: Uint8Array, certTable: Uint8Array): CmwCollection {
  const records: [string, CmwRecord][] = [
    [reportLabel, { mediaType: reportType, value: report, indicator: cmwIndicator.evidence }],
  ];
  if (certTable.length > 0) {
    const indicator = cmwIndicator.endorsements;
    records.push([certsLabel, { mediaType: certsType, value: certTable, indicator }]);
  }
  return new Map(records);
}

/** SNP evidence alone; with others' records beside it, it is part of a composite. */
export function isSnpCollection(collection: CmwCollection): boolean {
  const own: readonly string[] = [reportLabel, certsLabel];
  return collection.has(reportLabel) && [...collection.keys()].every((l) => own.includes(l));
}

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_EVIDENCE */
export function parseSnpCollection(collection: CmwCollection): SnpEvidence {
  for (const label of collection.keys()) {
    if (label !== reportLabel && label !== certsLabel) {
      throw new CvmpError('UNSUPPORTED_EVIDENCE', `${label} has no place in SNP evidence`);
    }
  }
  const report = recordOf(collection, reportLabel, reportType);
  const table = collection.has(certsLabel)
    ? parseCertTable(recordOf(collection, certsLabel, certsType))
    : [];
  const certificates = table.filter(({ kind }) => kind !== 'CRL').map(({ data }) => data);
  const crls = table.filter(({ kind }) => kind === 'CRL').map(({ data }) => data);
  if (certificates.length > certificatesMax || crls.length > listsMax) {
    throw new CvmpError(
      'SIZE',
      `more than ${certificatesMax} certificates or ${listsMax} revocation lists`,
      { field: certsLabel },
    );
  }
  return { report: parseReport(report), endorsements: { certificates, crls } };
}

function recordOf(collection: CmwCollection, label: string, mediaType: string): Uint8Array {
  const record = collection.get(label);
  if (record?.mediaType === mediaType) return record.value;
  const found = record?.mediaType ?? 'nothing';
  throw new CvmpError('UNSUPPORTED_EVIDENCE', `${label} is ${found}, not ${mediaType}`);
}
