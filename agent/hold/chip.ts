import { encode } from '#core/cbor/encode.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { isSnpCollection, parseSnpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import { type Attester, hardwareOf } from '../attester/attester.js';

/**
 * CHIP_ID of the processor that the CVM runs on now, from a report that stays here; undefined where
 * the evidence names none (only that of SEV-SNP does by itself).
 * @throws CvmpError as Attester.evidence
 */
export async function chipOf(
  attester: Attester,
  randomBytes: (length: number) => Uint8Array,
): Promise<Uint8Array | undefined> {
  const reportData = crypto.hash('sha512', encode(['CVMP/1 self-check', randomBytes(32)]));
  const records = decodeCmw(await hardwareOf(attester).evidence(reportData));
  return isSnpCollection(records) ? parseSnpCollection(records).report.chipId : undefined;
}
