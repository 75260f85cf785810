import { CvmpError } from '#core/errors.js';
import type { Entry } from '../store/store.js';
import { checkDocument, checkEvidence, checkEvidenceName } from './check-evidence.js';
import {
  checkAgenda,
  checkCounts,
  checkKey,
  checkPolicy,
  checkTenant,
  unmatchedCounts,
} from './check-keys.js';
import { checkBlock, checkName, checkRequest, checkUntil, endOfLog } from './check-log.js';
import type { StoreAtRest } from './open.js';
import { Tally } from './tally.js';

/** Something that is not as the server wrote it. */
export interface Problem {
  /** Record of the store. */
  readonly key: string;
  readonly what: string;
}

export interface CheckReport {
  /** Records read and opened, by kind. */
  readonly records: ReadonlyMap<string, number>;
  /** Records of the log of decisions. */
  readonly logSize: number;
  /** At most 1000. */
  readonly problems: readonly Problem[];
  readonly problemCount: number;
}

const pageSize = 1000;

/** What is looked at of one record; kinds are in bytewise order, as the records come. */
type Check = (entry: Entry, opened: StoreAtRest, tally: Tally) => Promise<void> | void;

const sealedByServer: Check = (entry, { keyring }) => {
  keyring.server.open(entry.key, entry);
};
/** Checked where the store was opened. */
const alreadyOpened: Check = () => undefined;
/** A name that leads nowhere else. */
const mark: Check = () => undefined;

/** By what stands before the first "/" of a record's key. */
const checks: Readonly<Record<string, Check>> = {
  '!cvmp': alreadyOpened,
  agenda: checkAgenda,
  audit: checkBlock,
  'audit-of': checkName,
  'audit-refused': checkName,
  commits: alreadyOpened,
  erasing: mark,
  evidence: checkEvidence,
  'evidence-doc': checkDocument,
  'evidence-until': checkEvidenceName,
  identity: sealedByServer,
  key: checkKey,
  'log-tile': sealedByServer,
  policies: checkPolicy,
  policy: checkPolicy,
  'policy-keys': checkCounts,
  request: checkRequest,
  'request-until': checkUntil,
  'rollback-accepted': sealedByServer,
  'rollback-alarm': sealedByServer,
  store: alreadyOpened,
  tenant: checkTenant,
  tpm: sealedByServer,
};

/**
 * Reads and opens every record, and follows every reference between them. Tables are verified as the
 * store opens, and here once more as a whole.
 * @param progress told of the records so far, now and then
 */
export async function checkStore(
  opened: StoreAtRest,
  progress: (records: number) => void = () => undefined,
): Promise<CheckReport> {
  const tally = new Tally();
  verifyAll(opened.store.verify());
  let after: string | undefined;
  for (let count = 0; ; ) {
    const range = { prefix: '', limit: pageSize, ...(after === undefined ? {} : { after }) };
    const page = await opened.store.list(range);
    for (const entry of page) await checkOne(entry, opened, tally);
    count += page.length;
    progress(count);
    if (page.length < pageSize) break;
    after = page.at(-1)!.key;
  }
  unmatchedCounts(tally);
  await endOfLog(opened, tally);
  if (tally.requests > 0) {
    tally.problem('request-until', `${tally.requests} requests are never forgotten`);
  }
  const { records, problems, problemCount, log } = tally;
  return { records, problems, problemCount, logSize: log.frontier.size };
}

/** @throws CvmpError STORE_CORRUPT */
function verifyAll(running: Generator<number, void>): void {
  while (!running.next().done);
}

async function checkOne(entry: Entry, opened: StoreAtRest, tally: Tally): Promise<void> {
  const [kind = ''] = entry.key.split('/', 1);
  tally.records.set(kind, (tally.records.get(kind) ?? 0) + 1);
  const check = checks[kind];
  if (check === undefined) return tally.problem(entry.key, 'is of no known kind');
  try {
    await check(entry, opened, tally);
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    tally.problem(entry.key, `${error.code}: ${error.message}`);
  }
}
