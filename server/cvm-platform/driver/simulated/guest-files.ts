import { open } from 'node:fs/promises';
import { stringify } from 'yaml';
import { toHex } from '#core/bytes.js';
import type { CvmDefinition } from '../driver.js';
import { type CvmFolder, writeWhole } from './folder.js';

/** Writes what a guest finds when it boots; a disk that is there stays as it is. */
export async function writeGuestFiles(folder: CvmFolder, definition: CvmDefinition): Promise<void> {
  await writeWhole(folder.configDocument, definition.configDocument);
  await writeWhole(folder.agentConfig, agentConfig(folder, definition));
  await makeDisk(folder.disk, definition.diskMib);
}

/** An empty disk that takes no room before it is written; one that is there stays. */
async function makeDisk(path: string, mib: number): Promise<void> {
  try {
    const disk = await open(path, 'wx', 0o600);
    await disk.truncate(mib * 1024 * 1024).finally(() => disk.close());
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  }
}

/** YAML for cvmp-agent. */
function agentConfig(folder: CvmFolder, definition: CvmDefinition): string {
  const { keyServerAddress, keyId, diskMib } = definition;
  return stringify({
    key_server_address: keyServerAddress,
    config_document_file: folder.configDocument,
    tsm: { socket: folder.tsmSocket },
    guest_socket: folder.guestSocket,
    disk: { path: folder.disk, backend: 'auto', size_mib: diskMib },
    ...(keyId && { key_id: toHex(keyId) }),
    state_dir: folder.agentState,
    // There is no tmpfs of the guest's own here.
    allow_persistent_files: true,
  });
}
