import { mkdirSync, readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { asCvmpError } from '#server/host/level-files/inspect.js';
import { isOfDatabase } from '../store/level.js';
import type { Store } from '../store/store.js';
import {
  type BackupFile,
  encodeRecord,
  manifestName,
  recordsName,
  signManifest,
} from './backup-format.js';

const pageSize = 1000;
const fileBytes = 8 * 1024 * 1024;

export interface BackupSource {
  readonly store: Pick<Store, 'id' | 'snapshot'>;
  readonly identity: EcPrivateKey;
  /** The newest checkpoint; everything that was answered is in it. */
  readonly checkpoint: () => Promise<{ readonly signed: Uint8Array; readonly size: number }>;
  readonly now: () => number;
}

export interface BackupProgress {
  readonly records: number;
  readonly bytes: number;
  /** Records of the log of decisions that it surely holds; with the last one. */
  readonly logSize: number;
  readonly isDone: boolean;
}

/**
 * Copies the store as it is at one moment into a new or empty folder, while the server goes on. Keys
 * of the vault are not in it. The manifest comes last: without it there is no backup.
 * @throws CvmpError ALREADY_EXISTS, STORE_WRITE, STORE_ACCESS, STORE_CORRUPT
 */
export async function* writeBackup(
  folder: string,
  source: BackupSource,
): AsyncGenerator<BackupProgress> {
  makeEmptyFolder(folder);
  // Before the snapshot, which then holds at least this.
  const checkpoint = await source.checkpoint();
  const snapshot = source.store.snapshot();
  const files: BackupFile[] = [];
  let records = 0;
  let bytes = 0;
  const progress = (isDone: boolean) => ({ records, bytes, logSize: checkpoint.size, isDone });
  try {
    let pending: Buffer[] = [];
    let length = 0;
    const flush = async () => {
      const name = recordsName(files.length + 1);
      files.push(await writeFile(folder, name, Buffer.concat(pending)));
      bytes += length;
      pending = [];
      length = 0;
    };
    for await (const page of pagesOf(snapshot)) {
      for (const entry of page) {
        const record = encodeRecord(entry);
        pending.push(record);
        length += record.length;
      }
      records += page.length;
      if (length < fileBytes) continue;
      await flush();
      yield progress(false);
    }
    await flush();
  } finally {
    await snapshot.close();
  }
  const { store, identity, now } = source;
  const content = { storeId: store.id, time: now(), checkpoint: checkpoint.signed };
  const manifest = await signManifest(identity, { ...content, records, files });
  await writeFile(folder, manifestName, Buffer.from(manifest));
  yield progress(true);
}

async function* pagesOf(snapshot: ReturnType<Store['snapshot']>) {
  let after: string | undefined;
  for (;;) {
    const range = { prefix: '', limit: pageSize, ...(after === undefined ? {} : { after }) };
    const page = await snapshot.list(range);
    yield page.filter(({ key }) => !isOfDatabase(key));
    if (page.length < pageSize) return;
    after = page.at(-1)!.key;
  }
}

function makeEmptyFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (readdirSync(folder).length === 0) return;
  } catch (cause) {
    throw asCvmpError(cause, folder);
  }
  throw new CvmpError('ALREADY_EXISTS', `${folder} is not empty`);
}

async function writeFile(folder: string, name: string, content: Buffer): Promise<BackupFile> {
  try {
    const file = await open(join(folder, name), 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw asCvmpError(cause, join(folder, name));
  }
  return { name, bytes: content.length, digest: crypto.hash('sha256', content) };
}
