import { CvmpError } from '../errors.js';
import { type CmwCollection, cmwIndicator } from '../rats/cmw.js';
import { type CcaToken, parseCcaToken } from './token.js';

/** Label of a CCA token in a CMW collection. */
const tokenLabel = 'cca';
const tokenType = 'application/vnd.cvmp.arm-cca-token';

/** @param token `outblob` of configfs-tsm */
export function ccaCollection(token: Uint8Array): CmwCollection {
  const indicator = cmwIndicator.evidence;
  return new Map([[tokenLabel, { mediaType: tokenType, value: token, indicator }]]);
}

export function isCcaCollection(collection: CmwCollection): boolean {
  return collection.has(tokenLabel) && collection.size === 1;
}

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_* */
export function parseCcaCollection(collection: CmwCollection): CcaToken {
  const record = collection.get(tokenLabel);
  if (record?.mediaType === tokenType && collection.size === 1) return parseCcaToken(record.value);
  const found = record?.mediaType ?? 'nothing';
  throw new CvmpError('UNSUPPORTED_EVIDENCE', `${tokenLabel} is ${found}, not ${tokenType} alone`);
}
