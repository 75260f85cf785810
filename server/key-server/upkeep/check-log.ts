import { equalBytes } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { append, digestLength, rootOf } from '#core/log/tree.js';
import {
  blockKey,
  blockPrefix,
  type Logged,
  openBlock,
  ordered,
  readLogged,
  refusalPrefix,
  tenantPrefix,
} from '../log/blocks.js';
import type { Entry } from '../store/store.js';
import type { StoreAtRest } from './open.js';
import type { Tally } from './tally.js';

const beforeFirst = { sequence: 0, leaf: new Uint8Array(digestLength) };

/** A block follows the one before it, each record the one before it of its tenant. */
export async function checkBlock(entry: Entry, opened: StoreAtRest, tally: Tally): Promise<void> {
  const { stateVersion, bodies } = openBlock(entry.key, entry, opened.keyring.server);
  const { log } = tally;
  const first = log.frontier.size + 1;
  if (entry.key !== blockKey(first) || stateVersion !== log.stateVersion + 1) {
    tally.problem(entry.key, `does not follow record ${log.frontier.size}`);
  }
  const records = bodies.map(readLogged);
  for (const [i, record] of records.entries()) {
    if (record.index !== first + i) tally.problem(entry.key, `holds record ${record.index}`);
    const { tenantId = '' } = record;
    const last = tally.lastOf.get(tenantId) ?? beforeFirst;
    if (record.sequence !== last.sequence + 1 || !equalBytes(record.previous, last.leaf)) {
      tally.problem(entry.key, `record ${record.index} does not follow its tenant's last`);
    }
    tally.lastOf.set(tenantId, record);
  }
  await mustBeNamed(entry.key, records, opened, tally);
  const leaves = records.map(({ leaf }) => leaf);
  tally.log = { frontier: append(log.frontier, leaves), stateVersion };
}

/** Who is concerned finds the block by a name of its own. */
async function mustBeNamed(
  key: string,
  records: readonly Logged[],
  { store }: StoreAtRest,
  tally: Tally,
): Promise<void> {
  const names = new Set<string>();
  for (const { tenantId = '', code } of records) {
    names.add(`${tenantPrefix(tenantId)}${ordered(records[0]!.index)}`);
    if (code !== undefined) names.add(`${refusalPrefix(tenantId)}${ordered(records[0]!.index)}`);
  }
  tally.names.expected += names.size;
  for (const name of names) {
    if ((await store.get(name)) === undefined) tally.problem(key, `${name} is missing`);
  }
}

/** A name leads to a block that is there. */
export async function checkName({ key }: Entry, { store }: StoreAtRest, tally: Tally) {
  tally.names.found++;
  const block = `${blockPrefix}${key.slice(key.lastIndexOf('/') + 1)}`;
  if ((await store.get(block)) === undefined) tally.problem(key, `${block} is missing`);
}

/** The tree that the server would continue is the one of all records. */
export async function endOfLog({ state }: StoreAtRest, tally: Tally): Promise<void> {
  const newest = await state.log.newest();
  const { frontier } = tally.log;
  if (newest.size !== frontier.size || !equalBytes(newest.root, rootOf(frontier))) {
    tally.problem('log-tile', `the tree of ${newest.size} records is not that of the records`);
  }
  const { found, expected } = tally.names;
  if (found > expected) tally.problem('audit-of', `has ${found - expected} names too many`);
}

/** A remembered request opens, and is forgotten one day. */
export async function checkRequest(entry: Entry, { keyring }: StoreAtRest, tally: Tally) {
  const [, tenantId = ''] = entry.key.split('/');
  decode((await keyring.of(tenantId)).records.open(entry.key, entry));
  tally.requests++;
}

/** What is to be forgotten is there. */
export async function checkUntil({ key }: Entry, { store }: StoreAtRest, tally: Tally) {
  const request = key.split('/').slice(2).join('/');
  if ((await store.get(request)) === undefined) tally.problem(key, `${request} is missing`);
  else tally.requests--;
}
