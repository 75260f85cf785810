import { encode } from '../cbor/encode.js';
import { asBytes, decodeMap } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { type EventLog, parseEventLog } from '../eventlog/parse.js';
import { type CmwCollection, type CmwRecord, cmwIndicator } from '../rats/cmw.js';
import { type Endorsements, noEndorsements } from '../rats/endorsements.js';
import { qeIdentityType, tcbInfoType } from './endorsement/collateral.js';
import { parseTdxQuote, type TdxQuote } from './parse.js';

/** Labels of TDX evidence in a CMW collection. */
const quoteLabel = 'tdx';
const collateralLabel = 'tdx-collateral';
const logLabel = 'log-ccel';
const ownLabels: readonly string[] = [quoteLabel, collateralLabel, logLabel];

const quoteType = 'application/vnd.cvmp.tdx-quote';
const collateralType = 'application/vnd.cvmp.tdx-collateral+cbor';
const logType = 'application/vnd.cvmp.cc-event-log';

const piecesMax = 16;

/** TDX evidence: a quote and the collateral that came along. Parsed, not trusted. */
export interface TdxEvidence {
  readonly quote: TdxQuote;
  readonly endorsements: Endorsements;
  /** CC event log of the guest's firmware (CCEL). */
  readonly eventLog: EventLog | undefined;
}

/**
 * @param quote `outblob` of configfs-tsm
 * @param collateral what the agent could fetch; the verifier prefers what is newer
 * @param eventLog as read from the CCEL table
 */
export function tdxCollection(
  quote: Uint8Array,
  collateral: Endorsements = noEndorsements,
  eventLog?: Uint8Array,
): CmwCollection {
  const records: [string, CmwRecord][] = [
    [quoteLabel, { mediaType: quoteType, value: quote, indicator: cmwIndicator.evidence }],
  ];
  if (collateral !== noEndorsements) {
    const documents = (mediaType: string) =>
      (collateral.documents ?? []).filter((d) => d.mediaType === mediaType).map((d) => d.value);
    const value = encode(
      new Map<number, CborValue>([
        [1, [...collateral.certificates]],
        [2, [...collateral.crls]],
        [3, documents(tcbInfoType)],
        [4, documents(qeIdentityType)],
      ]),
    );
    const indicator = cmwIndicator.endorsements;
    records.push([collateralLabel, { mediaType: collateralType, value, indicator }]);
  }
  if (eventLog !== undefined) {
    const indicator = cmwIndicator.evidence;
    records.push([logLabel, { mediaType: logType, value: eventLog, indicator }]);
  }
  return new Map(records);
}

/** TDX evidence alone; with others' records beside it, it is part of a composite. */
export function isTdxCollection(collection: CmwCollection): boolean {
  return collection.has(quoteLabel) && [...collection.keys()].every((l) => ownLabels.includes(l));
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_* */
export function parseTdxCollection(collection: CmwCollection): TdxEvidence {
  for (const label of collection.keys()) {
    if (!ownLabels.includes(label)) {
      throw new CvmpError('UNSUPPORTED_EVIDENCE', `${label} has no place in TDX evidence`);
    }
  }
  return {
    quote: parseTdxQuote(recordOf(collection, quoteLabel, quoteType)),
    endorsements: collection.has(collateralLabel)
      ? parseCollateral(recordOf(collection, collateralLabel, collateralType))
      : noEndorsements,
    eventLog: collection.has(logLabel)
      ? parseEventLog(recordOf(collection, logLabel, logType))
      : undefined,
  };
}

/** `{1: [certificate], 2: [crl], 3: [TCB Info], 4: [QE Identity]}`, all byte strings. */
function parseCollateral(bytes: Uint8Array): Endorsements {
  return decodeMap(bytes, collateralLabel, (m) => {
    const pieces = (key: number, name: string) => m.array(key, name, { max: piecesMax }, asBytes);
    const documents = (mediaType: string, values: readonly Uint8Array[]) =>
      values.map((value) => ({ mediaType, value }));
    return {
      certificates: pieces(1, 'certificates'),
      crls: pieces(2, 'crls'),
      documents: [
        ...documents(tcbInfoType, pieces(3, 'tcb_infos')),
        ...documents(qeIdentityType, pieces(4, 'qe_identities')),
      ],
    };
  });
}

function recordOf(collection: CmwCollection, label: string, mediaType: string): Uint8Array {
  const record = collection.get(label);
  if (record?.mediaType === mediaType) return record.value;
  const found = record?.mediaType ?? 'nothing';
  throw new CvmpError('UNSUPPORTED_EVIDENCE', `${label} is ${found}, not ${mediaType}`);
}
