import { CvmpError } from '../errors.js';
import { type CmwCollection, type CmwRecord, cmwIndicator } from '../rats/cmw.js';
import { type HclReport, parseHclReport } from '../tpm/ak/hcl.js';
import { parseTpmCollection, type TpmEvidence, tpmLabels } from '../tpm/evidence.js';

/** Label of the HCL report in a CMW collection. */
const hclLabel = 'hcl';
const hclType = 'application/vnd.cvmp.azure-hcl-report';

/** Evidence of an Azure CVM: hardware, the HCL report between, its vTPM. Parsed, not trusted. */
export interface AzureEvidence<Hardware> {
  readonly hardware: Hardware;
  readonly hcl: HclReport;
  readonly tpm: TpmEvidence;
}

/**
 * @param hardware collection of the hardware's own format, made over the runtime data of `hcl`
 * @param hcl NV index 0x01400001 as read
 * @param tpm collection of the quote, without AK certificate
 */
export function azureCollection(
  hardware: CmwCollection,
  hcl: Uint8Array,
  tpm: CmwCollection,
): CmwCollection {
  const record: CmwRecord = {
    mediaType: hclType,
    value: hcl,
    indicator: cmwIndicator.evidence,
  };
  return new Map([...hardware, [hclLabel, record], ...tpm]);
}

export function isAzureCollection(collection: CmwCollection): boolean {
  return collection.has(hclLabel) && collection.has(tpmLabels.quote);
}

/** The records that belong to the hardware's own format. */
export function hardwareCollection(collection: CmwCollection): CmwCollection {
  const others: readonly string[] = [hclLabel, ...Object.values(tpmLabels)];
  return new Map([...collection].filter(([label]) => !others.includes(label)));
}

/**
 * @param parseHardware parser of the hardware's own format
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_*
 */
export function parseAzureCollection<Hardware>(
  collection: CmwCollection,
  parseHardware: (collection: CmwCollection) => Hardware,
): AzureEvidence<Hardware> {
  const record = collection.get(hclLabel);
  if (record?.mediaType !== hclType) {
    const found = record?.mediaType ?? 'nothing';
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `${hclLabel} is ${found}, not ${hclType}`);
  }
  return {
    hardware: parseHardware(hardwareCollection(collection)),
    hcl: parseHclReport(record.value),
    tpm: parseTpmCollection(collection),
  };
}
