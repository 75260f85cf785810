import { encode } from '../cbor/encode.js';
import { asBytes, asMap, decodeMap } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { type EventLog, parseEventLog } from '../eventlog/parse.js';
import { type CmwCollection, type CmwRecord, cmwIndicator } from '../rats/cmw.js';
import { parseQuote, type TpmQuote } from './attest.js';
import { pcrCount } from './layout.js';
import { type PublicArea, parsePublicArea } from './public-area.js';
import type { PcrValues } from './quote.js';
import { parseTpmSignature, type TpmSignature } from './signature.js';

/** Labels of TPM evidence in a CMW collection. */
export const tpmLabels = { quote: 'tpm', log: 'log-tcg' } as const;

const quoteType = 'application/vnd.cvmp.tpm-quote+cbor';
const logType = 'application/vnd.cvmp.tcg-event-log';

const certificatesMax = 8;
const extensionsMax = 256;

/** What a TPM showed, in the TPM's own structures. */
export interface TpmMaterial {
  /** TPMS_ATTEST. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  readonly pcrs: PcrValues;
  /** TPMT_PUBLIC of the AK, where its credential was activated. */
  readonly akPublic?: Uint8Array;
  /** DER: AK certificate first, then what is needed to verify it. */
  readonly certificates?: readonly Uint8Array[];
  /** DER: EK certificate first, then what is needed to verify it; beside `akPublic`. */
  readonly ekCertificates?: readonly Uint8Array[];
  /** Digests that were extended into the PCR of the config document, in order. */
  readonly configExtensions: readonly Uint8Array[];
  /** As read from securityfs. */
  readonly eventLog?: Uint8Array;
}

/** TPM evidence. Parsed, not trusted. */
export interface TpmEvidence {
  readonly quote: TpmQuote;
  readonly signature: TpmSignature;
  readonly pcrs: PcrValues;
  readonly akPublic: PublicArea | undefined;
  readonly certificates: readonly Uint8Array[];
  readonly ekCertificates: readonly Uint8Array[];
  readonly configExtensions: readonly Uint8Array[];
  readonly eventLog: EventLog | undefined;
}

export function tpmCollection(material: TpmMaterial): CmwCollection {
  const map = new Map<number, CborValue>([
    [1, material.attest],
    [2, material.signature],
    [3, new Map(material.pcrs)],
    [6, [...material.configExtensions]],
  ]);
  if (material.akPublic !== undefined) map.set(4, material.akPublic);
  if (material.certificates !== undefined) map.set(5, [...material.certificates]);
  if (material.ekCertificates !== undefined) map.set(7, [...material.ekCertificates]);
  const indicator = cmwIndicator.evidence;
  const records: [string, CmwRecord][] = [
    [tpmLabels.quote, { mediaType: quoteType, value: encode(map), indicator }],
  ];
  if (material.eventLog !== undefined) {
    const value = material.eventLog;
    records.push([tpmLabels.log, { mediaType: logType, value, indicator }]);
  }
  return new Map(records);
}

/** TPM evidence alone; with hardware evidence beside it, it is part of a composite. */
export function isTpmCollection(collection: CmwCollection): boolean {
  const labels: readonly string[] = Object.values(tpmLabels);
  return collection.has(tpmLabels.quote) && [...collection.keys()].every((l) => labels.includes(l));
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_* */
export function parseTpmCollection(collection: CmwCollection): TpmEvidence {
  const bytes = recordOf(collection, tpmLabels.quote, quoteType);
  const material = decodeMap(bytes, tpmLabels.quote, (m) => {
    const chain = (key: number, name: string) =>
      m.optional(key, () => m.array(key, name, { max: certificatesMax }, asBytes)) ?? [];
    return {
      quote: parseQuote(m.bytes(1, 'attest')),
      signature: parseTpmSignature(m.bytes(2, 'signature')),
      pcrs: readPcrs(m.value(3, 'pcrs')),
      akPublic: m.optional(4, () => parsePublicArea(m.bytes(4, 'ak_public'))),
      certificates: chain(5, 'certificates'),
      configExtensions: m.array(6, 'config_extensions', { max: extensionsMax }, asBytes),
      ekCertificates: chain(7, 'ek_certificates'),
    };
  });
  const eventLog = collection.has(tpmLabels.log)
    ? parseEventLog(recordOf(collection, tpmLabels.log, logType))
    : undefined;
  return { ...material, eventLog };
}

function readPcrs(value: CborValue): PcrValues {
  const pcrs = new Map<number, Uint8Array>();
  for (const [pcr, digest] of asMap(value, 'tpm.pcrs')) {
    if (typeof pcr !== 'number' || pcr < 0 || pcr >= pcrCount) {
      throw new CvmpError('MALFORMED', `tpm.pcrs has PCR ${pcr}`, { field: 'tpm.pcrs' });
    }
    pcrs.set(pcr, asBytes(digest, `tpm.pcrs[${pcr}]`, { min: 20, max: 64 }));
  }
  return pcrs;
}

function recordOf(collection: CmwCollection, label: string, mediaType: string): Uint8Array {
  const record = collection.get(label);
  if (record?.mediaType === mediaType) return record.value;
  const found = record?.mediaType ?? 'nothing';
  throw new CvmpError('UNSUPPORTED_EVIDENCE', `${label} is ${found}, not ${mediaType}`);
}
