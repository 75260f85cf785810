import { fdatasyncSync, readSync, writeSync } from 'node:fs';
import { type FileHandle, link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * What a vault does to a disk; each step is durable, or seen whole, once it resolves. Tests end a
 * vault's life at any of them.
 */
export interface VaultFiles {
  /** A new file of mode 0600. */
  write(path: string, content: Uint8Array): Promise<void>;
  /** A second name. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Overwrites the content where it lies. */
  shred(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  openSlots(path: string): Promise<SlotFile>;
}

/** A file that is written in place. */
export interface SlotFile {
  /** Bytes. */
  readonly size: number;
  readonly writeAt: (content: Uint8Array, offset: number) => Promise<void>;
  readonly writeAtSync: (content: Uint8Array, offset: number) => void;
  /** Less than `length` bytes at the end. */
  readonly readAtSync: (offset: number, length: number) => Uint8Array;
  readonly truncate: (size: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

export const diskFiles: VaultFiles = {
  async write(path, content) {
    const file = await open(path, 'wx', 0o600);
    await file.writeFile(content);
    await synced(file);
    await syncFolder(path);
  },
  async link(from, to) {
    await link(from, to);
    await syncFolder(to);
  },
  async rename(from, to) {
    await rename(from, to);
    await syncFolder(to);
  },
  async shred(path) {
    const file = await open(path, 'r+');
    const { size } = await file.stat();
    await file.write(new Uint8Array(size), 0, size, 0);
    await synced(file);
  },
  async remove(path) {
    await rm(path);
    await syncFolder(path);
  },
  async openSlots(path) {
    return slotsOver(await open(path, 'r+'), (await stat(path)).size);
  },
};

function slotsOver(file: FileHandle, size: number): SlotFile {
  return {
    size,
    async writeAt(content, offset) {
      await file.write(content, 0, content.length, offset);
      await file.datasync();
    },
    writeAtSync(content, offset) {
      writeSync(file.fd, content, 0, content.length, offset);
      fdatasyncSync(file.fd);
    },
    readAtSync(offset, length) {
      const bytes = new Uint8Array(length);
      return bytes.subarray(0, readSync(file.fd, bytes, 0, length, offset));
    },
    async truncate(to) {
      await file.truncate(to);
      await file.sync();
    },
    close: () => file.close(),
  };
}

async function synced(file: FileHandle): Promise<void> {
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A name is durable once its folder is. */
async function syncFolder(path: string): Promise<void> {
  await synced(await open(dirname(path), 'r'));
}
