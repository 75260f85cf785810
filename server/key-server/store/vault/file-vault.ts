import { lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CvmpError } from '#core/errors.js';
import { decodeContent, encodeContent } from './content.js';
import { diskFiles, type SlotFile, type VaultFiles } from './files.js';
import { sealedEraseLength, type Vault, type VaultContent } from './vault.js';

/** Slots do not cross sectors, so that one is whole or not there. */
const slotLength = 64;
const noSlot = new Uint8Array(slotLength);

const keksName = 'keks';
const nextName = 'keks.new';
const oldName = 'keks.old';
const eraseName = 'erase-keys';

/**
 * Makes a vault.
 * @param id of its store, 16 bytes
 * @throws CvmpError ALREADY_EXISTS, STORE_WRITE
 */
export async function createVault(
  folder: string,
  id: Uint8Array,
  content: VaultContent,
  files: VaultFiles = diskFiles,
): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (readdirSync(folder).length > 0) {
    throw new CvmpError('ALREADY_EXISTS', `there is something at ${folder}, where the vault goes`);
  }
  await writing(folder, async () => {
    await files.write(join(folder, eraseName), new Uint8Array());
    // Last: who finds it finds a whole vault.
    await files.write(join(folder, keksName), encodeContent(id, content));
  });
}

/**
 * Opens what {@link createVault} made, and finishes what a crash left half done.
 * @throws CvmpError STORE_MISSING, STORE_CORRUPT, STORE_WRITE
 */
export async function openVault(folder: string, files: VaultFiles = diskFiles): Promise<Vault> {
  const { id, ...content } = readKeks(folder);
  return writing(folder, async () => {
    await removeLeftovers(folder, files);
    const slots = join(folder, eraseName);
    if (lstatSync(slots, { throwIfNoEntry: false }) === undefined) {
      throw new CvmpError('STORE_CORRUPT', `the vault at ${folder} has lost its file ${eraseName}`);
    }
    const erase = await files.openSlots(slots);
    // A torn end was never acknowledged.
    const size = erase.size - (erase.size % slotLength);
    if (size !== erase.size) await erase.truncate(size);
    return new FileVault(folder, files, id, content, erase, size);
  });
}

/** What a vault says of its master key, without opening it. @throws as openVault */
export function readMasterDescription(folder: string): Uint8Array {
  return readKeks(folder).master;
}

function readKeks(folder: string) {
  const path = join(folder, keksName);
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) {
    throw new CvmpError('STORE_MISSING', `there is no vault at ${folder}`);
  }
  return decodeContent(new Uint8Array(readFileSync(path)), path);
}

/** Two files: the KEKs, replaced as a whole, and slots of erase keys, written in place. */
class FileVault implements Vault {
  readonly id: Uint8Array;
  readonly #folder: string;
  readonly #files: VaultFiles;
  readonly #erase: SlotFile;
  #content: VaultContent;
  /** Slots of the file. */
  #slots: number;
  #last: Promise<unknown> = Promise.resolve();
  #broken: CvmpError | undefined;

  constructor(
    folder: string,
    files: VaultFiles,
    id: Uint8Array,
    content: VaultContent,
    erase: SlotFile,
    size: number,
  ) {
    this.id = id;
    this.#folder = folder;
    this.#files = files;
    this.#content = content;
    this.#erase = erase;
    this.#slots = size / slotLength;
  }

  get content(): VaultContent {
    return this.#content;
  }

  update(change: (content: VaultContent) => VaultContent | Promise<VaultContent>): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#broken !== undefined) throw this.#broken;
      const next = await change(this.#content);
      try {
        await writing(this.#folder, () => this.#replace(next));
        this.#content = next;
        await writing(this.#folder, () => removeLeftovers(this.#folder, this.#files));
      } catch (error) {
        // What the disk holds is unknown until it is opened again.
        this.#broken = error as CvmpError;
        throw error;
      }
    });
  }

  async reserve(count: number, seal: (ref: number) => Uint8Array): Promise<number> {
    const [first, bytes] = this.#newSlots(count, seal);
    await writing(this.#folder, () => this.#erase.writeAt(bytes, first * slotLength));
    return first;
  }

  reserveSync(count: number, seal: (ref: number) => Uint8Array): number {
    const [first, bytes] = this.#newSlots(count, seal);
    try {
      this.#erase.writeAtSync(bytes, first * slotLength);
    } catch (cause) {
      throw writeError(this.#folder, cause);
    }
    return first;
  }

  read(ref: number): Uint8Array | undefined {
    // What is destroyed leaves an empty slot; no slot at all is a file cut off, or an older one.
    if (ref >= this.#slots) {
      const what = `the vault at ${this.#folder} has no slot ${ref}: it lost its end, or is older`;
      throw new CvmpError('STORE_CORRUPT', what);
    }
    const slot = this.#erase.readAtSync(ref * slotLength, slotLength);
    const isEmpty = slot.length < slotLength || slot.every((byte) => byte === 0);
    return isEmpty ? undefined : slot.subarray(0, sealedEraseLength);
  }

  async destroy(refs: readonly number[]): Promise<void> {
    await writing(this.#folder, async () => {
      for (const ref of refs) {
        if (ref < this.#slots) await this.#erase.writeAt(noSlot, ref * slotLength);
      }
    });
  }

  async release(refs: readonly number[]): Promise<void> {
    const unused = new Set(refs);
    let slots = this.#slots;
    while (unused.delete(slots - 1)) slots--;
    await writing(this.#folder, () => this.#erase.truncate(slots * slotLength));
    this.#slots = slots;
    await this.destroy([...unused]);
  }

  copyTo(folder: string): Promise<void> {
    return this.#inTurn(async () => {
      const slots = this.#erase.readAtSync(0, this.#slots * slotLength);
      const content = encodeContent(this.id, this.#content);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      if (readdirSync(folder).length > 0) {
        throw new CvmpError('ALREADY_EXISTS', `${folder} is not empty`);
      }
      await writing(folder, async () => {
        await this.#files.write(join(folder, eraseName), slots);
        await this.#files.write(join(folder, keksName), content);
      });
    });
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#erase.close();
  }

  /** The old content keeps a name until it is overwritten, so that a crash cannot spare it. */
  async #replace(next: VaultContent): Promise<void> {
    const at = (name: string) => join(this.#folder, name);
    await this.#files.write(at(nextName), encodeContent(this.id, next));
    await this.#files.link(at(keksName), at(oldName));
    await this.#files.rename(at(nextName), at(keksName));
  }

  #newSlots(
    count: number,
    seal: (ref: number) => Uint8Array,
  ): readonly [first: number, bytes: Uint8Array] {
    const first = this.#slots;
    const bytes = new Uint8Array(count * slotLength);
    for (let i = 0; i < count; i++) bytes.set(seal(first + i), i * slotLength);
    this.#slots += count;
    return [first, bytes];
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

/** What {@link FileVault} was about to write, or has replaced. */
async function removeLeftovers(folder: string, files: VaultFiles): Promise<void> {
  const current = lstatSync(join(folder, keksName)).ino;
  for (const name of [nextName, oldName]) {
    const path = join(folder, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) continue;
    // Between link and rename the old content is still the current one.
    if (found.ino !== current) await files.shred(path);
    await files.remove(path);
  }
}

async function writing<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw cause instanceof CvmpError ? cause : writeError(folder, cause);
  }
}

function writeError(folder: string, cause: unknown): CvmpError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CvmpError('STORE_WRITE', `the vault at ${folder} could not write: ${why}`, { cause });
}
