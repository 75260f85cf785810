import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CvmpError } from '#core/errors.js';

/** A disk, or a plain file in its place; reads and writes are whole and durable. */
export interface DiskFile {
  readonly path: string;
  /** @throws CvmpError DISK where the disk ends before */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Returns when the bytes are on the disk. @throws CvmpError DISK */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a block device or file; a file that does not exist is made, sparse, of `bytesTotal`.
 * @throws CvmpError DISK
 */
export async function openDiskFile(path: string, bytesTotal: number): Promise<DiskFile> {
  return coded(`${path} cannot be opened`, async () => {
    const handle = await openOrCreate(path, bytesTotal);
    const stat = await handle.stat();
    if (!stat.isFile() && !stat.isBlockDevice()) {
      await handle.close();
      throw new CvmpError('DISK', `${path} is neither a block device nor a file`);
    }
    return new OpenDiskFile(path, handle);
  });
}

class OpenDiskFile implements DiskFile {
  readonly path: string;
  readonly #handle: FileHandle;

  constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return coded(`${this.path} cannot be read`, async () => {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const { bytesRead } = await this.#handle.read(bytes, at, length - at, offset + at);
        if (bytesRead === 0) throw new CvmpError('DISK', `${this.path} is too small`);
        at += bytesRead;
      }
      return bytes;
    });
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await coded(`${this.path} cannot be written`, async () => {
      for (let at = 0; at < bytes.length; ) {
        const left = bytes.length - at;
        const { bytesWritten } = await this.#handle.write(bytes, at, left, offset + at);
        at += bytesWritten;
      }
      await this.#handle.datasync();
    });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

async function openOrCreate(path: string, bytesTotal: number): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  await handle.truncate(bytesTotal);
  await handle.sync();
  const folder = await open(dirname(path), constants.O_RDONLY);
  await folder.sync();
  await folder.close();
  return handle;
}

async function coded<T>(what: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new CvmpError('DISK', `${what}: ${code}`, { cause });
  }
}
