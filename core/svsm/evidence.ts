import { encode } from '../cbor/encode.js';
import { decodeMap } from '../cbor/read.js';
import { CvmpError } from '../errors.js';
import { guidBytes, guidText } from '../guid.js';
import { type CmwCollection, cmwIndicator } from '../rats/cmw.js';
import { isSnpCollection, parseSnpCollection, type SnpEvidence } from '../snp/evidence.js';
import { parseTpmCollection, type TpmEvidence, tpmLabels } from '../tpm/evidence.js';
import {
  isServicesManifest,
  manifestBytesMax,
  parseServicesManifest,
  type SvsmService,
} from './manifest.js';

/** Label of what an SVSM said, in a CMW collection. */
export const svsmLabel = 'svsm';
const svsmType = 'application/vnd.cvmp.svsm-manifest+cbor';

const nonceLength = 64;

/** What configfs-tsm gives for `service_provider` svsm, beside the report. */
export interface SvsmMaterial {
  /** `inblob`, 64 bytes. */
  readonly nonce: Uint8Array;
  /** `manifestblob`. */
  readonly manifest: Uint8Array;
  /** `service_guid`, where one service was asked for; lower case. */
  readonly service?: string;
}

/** Evidence by an SVSM, with a quote of its vTPM or without. Parsed, not trusted. */
export interface SvsmEvidence {
  readonly hardware: SnpEvidence;
  /** What the guest asked the report for, 64 bytes. */
  readonly nonce: Uint8Array;
  /** As received: the hardware report is over these bytes. */
  readonly manifest: Uint8Array;
  readonly services: readonly SvsmService[];
  readonly tpm: TpmEvidence | undefined;
}

/**
 * @param hardware collection of the VMPL 0 report
 * @param tpm collection of a quote over `svsm.nonce`
 */
export function svsmCollection(
  hardware: CmwCollection,
  svsm: SvsmMaterial,
  tpm: CmwCollection = new Map(),
): CmwCollection {
  const map = new Map<number, Uint8Array>([
    [1, svsm.nonce],
    [2, svsm.manifest],
  ]);
  if (svsm.service !== undefined) map.set(3, guidBytes(svsm.service));
  const indicator = cmwIndicator.evidence;
  return new Map([
    ...hardware,
    [svsmLabel, { mediaType: svsmType, value: encode(map), indicator }],
    ...tpm,
  ]);
}

export function isSvsmCollection(collection: CmwCollection): boolean {
  return collection.has(svsmLabel) && isSnpCollection(hardwareOf(collection));
}

function hardwareOf(collection: CmwCollection): CmwCollection {
  return new Map([...collection].filter(([label]) => label !== svsmLabel && !isOfTpm(label)));
}

const isOfTpm = (label: string) => Object.values<string>(tpmLabels).includes(label);

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_* */
export function parseSvsmCollection(collection: CmwCollection): SvsmEvidence {
  const record = collection.get(svsmLabel);
  if (record?.mediaType !== svsmType) {
    const found = record?.mediaType ?? 'nothing';
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `${svsmLabel} is ${found}, not ${svsmType}`);
  }
  const { nonce, manifest, service } = decodeMap(record.value, svsmLabel, (m) => ({
    nonce: m.bytes(1, 'nonce', { length: nonceLength }),
    manifest: m.bytes(2, 'manifest', { max: manifestBytesMax }),
    service: m.optional(3, () => guidText(m.bytes(3, 'service', { length: 16 }))),
  }));
  return {
    hardware: parseSnpCollection(hardwareOf(collection)),
    nonce,
    manifest,
    services: readServices(manifest, service),
    tpm: [...collection.keys()].some(isOfTpm) ? parseTpmCollection(collection) : undefined,
  };
}

/** A single service's manifest does not name itself: its GUID is what the guest asked for. */
function readServices(manifest: Uint8Array, service: string | undefined): readonly SvsmService[] {
  const isTable = isServicesManifest(manifest);
  if (isTable === (service === undefined)) {
    return service === undefined ? parseServicesManifest(manifest) : [{ guid: service, manifest }];
  }
  const what = isTable ? 'is of all services' : 'is of one service, which is not named';
  throw new CvmpError('MALFORMED', `the manifest ${what}`, { field: 'svsm.service' });
}
