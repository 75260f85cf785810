import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadDisk } from '#agent/disk/load.js';
import { toHex } from '#core/bytes.js';
import type { Stage } from './stage.js';

/** What the header of a CVM's disk says; anybody who has the disk can read it. */
export interface DiskHeader {
  readonly backend: 'luks' | 'volume';
  /** KeyID and SVN of each slot, newest first. */
  readonly slots: readonly { readonly keyId: string; readonly svn: number }[];
}

/** Reads the header of a stopped or running CVM's disk, as its host can. */
export async function diskHeader(stage: Stage, cvmId: string): Promise<DiskHeader> {
  const path = join(stage.dev.layout.platform.folder, 'cvms', cvmId, 'disk');
  const stateDir = await mkdtemp(join(tmpdir(), 'cvmp-header-'));
  try {
    const config = { path, backend: 'auto', sizeMib: 64, mapperName: undefined } as const;
    const disk = await loadDisk(config, stateDir);
    const slots = disk.slots ?? [];
    await disk.close();
    return {
      backend: disk.backend,
      slots: slots.map(({ token }) => ({ keyId: toHex(token.keyId), svn: token.svn })),
    };
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
}
