import { diskFiles, type VaultFiles } from '#server/key-server/store/vault/files.js';

class Killed extends Error {}

/** A disk for a process that is killed before its step `at` (from 1); `steps` counts. */
export function killedAt(at: number): VaultFiles & { steps: number } {
  const step = <A extends unknown[], T>(work: (...args: A) => T) => {
    return (...args: A): T => {
      files.steps++;
      if (files.steps >= at) throw new Killed();
      return work(...args);
    };
  };
  const files = {
    steps: 0,
    write: async (...args: Parameters<VaultFiles['write']>) => step(diskFiles.write)(...args),
    link: async (...args: Parameters<VaultFiles['link']>) => step(diskFiles.link)(...args),
    rename: async (...args: Parameters<VaultFiles['rename']>) => step(diskFiles.rename)(...args),
    shred: async (...args: Parameters<VaultFiles['shred']>) => step(diskFiles.shred)(...args),
    remove: async (...args: Parameters<VaultFiles['remove']>) => step(diskFiles.remove)(...args),
    openSlots: async (path: string) => {
      const slots = await diskFiles.openSlots(path);
      return {
        ...slots,
        writeAt: step(slots.writeAt),
        writeAtSync: step(slots.writeAtSync),
        truncate: step(slots.truncate),
      };
    },
  };
  return files;
}
