import { equalBytes, fromHex } from '#core/bytes.js';
import { decodeMap } from '#core/cbor/read.js';
import { crypto } from '#crypto';
import type { Entry } from '../store/store.js';
import type { StoreAtRest } from './open.js';
import type { Tally } from './tally.js';

/** Evidence opens under the KEK of its tenant, and is the one that its name begins like. */
export async function checkEvidence(
  entry: Entry,
  { keyring }: StoreAtRest,
  tally: Tally,
): Promise<void> {
  const [, tenantId = '', name = ''] = entry.key.split('/');
  const { records } = await keyring.of(tenantId);
  const collection = decodeMap(records.open(entry.key, entry), 'evidence', (m) => {
    m.extensions();
    return m.bytes(1, 'collection');
  });
  const begins = crypto.hash('sha256', collection).subarray(0, 8);
  if (!equalBytes(begins, fromHex(name.slice(-16)))) {
    tally.problem(entry.key, 'holds other evidence than its name says');
  }
}

/** What evidence was verified with is named by its content. */
export function checkDocument(entry: Entry, { keyring }: StoreAtRest, tally: Tally): void {
  const digest = crypto.hash('sha256', keyring.server.open(entry.key, entry));
  if (!equalBytes(digest, fromHex(entry.key.slice(-64)))) {
    tally.problem(entry.key, 'holds other content than its name says');
  }
}

/** When evidence may be forgotten, by its name. */
export async function checkEvidenceName(
  entry: Entry,
  { store }: StoreAtRest,
  tally: Tally,
): Promise<void> {
  const named = entry.key.split('/').slice(2).join('/');
  if ((await store.get(named)) === undefined) tally.problem(entry.key, `${named} is missing`);
}
