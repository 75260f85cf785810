import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { concat, equalBytes, fromUtf8, isZero, toHex, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { busy, type Cryptsetup, wrongKey } from './cryptsetup.js';
import { type Disk, type DiskSlot, type DiskToken, freeSlot, type OpenSlot } from './disk.js';
import type { DiskFile } from './disk-file.js';
import { checkLuksHeader, type LuksSlot, luksFormat, luksToken } from './luks-header.js';

const { headerBytes, metadataBytes } = luksFormat;
const blockBytes = 4096;

/** Neither lock files nor token plug-ins: the header copy is ours alone, and so is its token. */
const always = ['--batch-mode', '--disable-locks', '--disable-external-tokens'];
const pbkdf = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', `${luksFormat.iterations}`];

export interface LuksOptions {
  /** Volatile folder for the private copy of the header. */
  readonly stateDir: string;
  /** Device-mapper name; undefined: map nothing. */
  readonly mapperName: string | undefined;
  readonly cryptsetup: Cryptsetup;
}

/**
 * LUKS2 by cryptsetup. The header (2 MiB) is read once into a private file; cryptsetup inspects,
 * opens and changes that file, never the header on the disk. A changed header goes back in an order
 * that keeps one of its two metadata copies whole and true at any time.
 */
export class LuksDisk implements Disk {
  readonly backend = 'luks';
  readonly #file: DiskFile;
  readonly #options: LuksOptions;
  /** Path of the private copy. */
  readonly #copy: string;
  /** The header area as it is on the disk. */
  #image: Uint8Array;
  #slots: readonly LuksSlot[] | undefined;

  private constructor(file: DiskFile, options: LuksOptions, copy: string, image: Uint8Array) {
    this.#file = file;
    this.#options = options;
    this.#copy = copy;
    this.#image = image;
  }

  /**
   * @param file closed with this disk, unless load fails
   * @throws CvmpError DISK, HEADER_REFUSED
   */
  static async load(file: DiskFile, options: LuksOptions): Promise<LuksDisk> {
    const image = await file.read(0, headerBytes);
    const copy = await freshCopyPath(options.stateDir, file.path);
    try {
      await writeCopy(copy, image);
      const disk = new LuksDisk(file, options, copy, image);
      await disk.#inspect();
      return disk;
    } catch (error) {
      await rm(copy, { force: true });
      throw error;
    }
  }

  get slots(): readonly DiskSlot[] | undefined {
    return this.#slots;
  }

  async format(key: Uint8Array, token: DiskToken): Promise<DiskSlot> {
    if (this.#slots !== undefined) throw new CvmpError('DISK', 'the disk is formatted already');
    const layout = [
      ...['--cipher', luksFormat.cipher, '--key-size', `${luksFormat.keyBits}`],
      ...['--hash', luksFormat.hash, '--sector-size', `${luksFormat.sectorBytes}`],
      ...['--luks2-metadata-size', `${metadataBytes}`],
      ...['--luks2-keyslots-size', `${luksFormat.keyslotsBytes}`],
    ];
    await this.#change(['luksFormat', '--type', 'luks2', ...layout, ...pbkdf], key);
    return this.#addToken(0, token);
  }

  async testOpen(slot: DiskSlot, key: Uint8Array): Promise<boolean> {
    if (!this.#slots?.some((s) => s.id === slot.id)) return false;
    const args = ['open', '--test-passphrase', '--key-slot', `${slot.id}`, ...keyOnInput(key)];
    const { exitCode, complaint } = await this.#cryptsetup([...args, this.#copy], key);
    if (exitCode !== 0 && exitCode !== wrongKey) throw failed('open --test-passphrase', complaint);
    return exitCode === 0;
  }

  async open({ slot, key }: OpenSlot): Promise<'mapped' | 'proved'> {
    if (!(await this.testOpen(slot, key))) {
      throw new CvmpError('DISK', 'the key does not open its slot');
    }
    const { mapperName } = this.#options;
    if (mapperName === undefined) return 'proved';
    const args = ['open', '--type', 'luks2', '--key-slot', `${slot.id}`, ...keyOnInput(key)];
    const { exitCode, complaint } = await this.#cryptsetup(
      [...args, '--header', this.#copy, this.#file.path, mapperName],
      key,
    );
    // Busy: this agent was started again after it had opened the disk. The provider cannot make
    // device-mapper names.
    if (exitCode !== 0 && exitCode !== busy) throw failed('open', complaint);
    return 'mapped';
  }

  async addSlot(opener: OpenSlot, key: Uint8Array, token: DiskToken): Promise<DiskSlot> {
    const free = freeSlot(this.slots ?? []);
    const both = concat(opener.key, key);
    const sizes = ['--new-keyfile-size', `${key.length}`, '--key-slot', `${free}`];
    // Both keys on standard input, told apart by their lengths; `-` after the disk is the new one.
    const args = ['luksAddKey', ...sizes, ...pbkdf, ...keyOnInput(opener.key), this.#copy, '-'];
    try {
      const { exitCode, complaint } = await this.#cryptsetup(args, both);
      if (exitCode !== 0) throw failed('luksAddKey', complaint);
    } finally {
      both.fill(0);
    }
    return this.#addToken(free, token);
  }

  async removeSlot(slot: DiskSlot, opener: OpenSlot): Promise<void> {
    const found = this.#slots?.find((s) => s.id === slot.id);
    if (found === undefined) throw new CvmpError('DISK', 'there is no such slot');
    if (slot.id === opener.slot.id || !(await this.testOpen(opener.slot, opener.key))) {
      throw new CvmpError('DISK', 'the last key is never removed');
    }
    await this.#change(['token', 'remove', '--token-id', `${found.tokenId}`]);
    await this.#change(['luksKillSlot'], opener.key, `${slot.id}`);
    await this.#writeBack();
  }

  async close(): Promise<void> {
    await rm(this.#copy, { force: true });
    await this.#file.close();
  }

  /** Puts the token beside its slot; both reach the disk together. */
  async #addToken(slotId: number, token: DiskToken): Promise<DiskSlot> {
    const json = utf8(luksToken(slotId, token));
    await this.#change(['token', 'import', '--json-file', '-'], json);
    await this.#writeBack();
    return this.#slots!.find((s) => s.id === slotId)!;
  }

  /** Runs an action that changes the private copy. */
  async #change(action: readonly string[], input?: Uint8Array, ...rest: string[]): Promise<void> {
    const key = action[0] === 'token' ? [] : keyOnInput(input!);
    const args = [...action, ...key, this.#copy, ...rest];
    const { exitCode, complaint } = await this.#cryptsetup(args, input);
    if (exitCode !== 0) throw failed(action[0]!, complaint);
  }

  #cryptsetup(args: readonly string[], input?: Uint8Array) {
    return this.#options.cryptsetup.run([...always, ...args], input);
  }

  /**
   * Reads the slots of the private copy, by the program that will open it: what is checked is what
   * is used. Unformatted is only what begins with a whole metadata copy of zeros and is no LUKS2
   * header to cryptsetup either; anything else that is not ours is refused.
   */
  async #inspect(): Promise<void> {
    const dump = await this.#cryptsetup([
      ...['luksDump', '--type', 'luks2', '--dump-json-metadata'],
      this.#copy,
    ]);
    if (dump.exitCode === 0) {
      this.#slots = checkLuksHeader(fromUtf8(dump.stdout));
    } else if (!isZero(this.#image.subarray(0, metadataBytes))) {
      throw new CvmpError('HEADER_REFUSED', `not a LUKS2 header: ${dump.complaint}`);
    }
  }

  /**
   * Brings the private copy to the disk: first the key slot area (slots that no metadata names
   * yet, or that none needs any more), then the second metadata copy, then the first. A LUKS2
   * reader takes the whole copy with the higher sequence number.
   */
  async #writeBack(): Promise<void> {
    await this.#inspect();
    const next = new Uint8Array(await readFile(this.#copy)).subarray(0, headerBytes);
    await this.#writeChanged(next, 2 * metadataBytes, headerBytes);
    await this.#writeChanged(next, metadataBytes, 2 * metadataBytes);
    await this.#writeChanged(next, 0, metadataBytes);
    this.#image = next;
  }

  /** Blocks that did not change are not written: nothing can tear them. */
  async #writeChanged(next: Uint8Array, from: number, to: number): Promise<void> {
    const same = (at: number) =>
      equalBytes(next.subarray(at, at + blockBytes), this.#image.subarray(at, at + blockBytes));
    for (let at = from; at < to; at += blockBytes) {
      if (same(at)) continue;
      const start = at;
      while (at < to && !same(at)) at += blockBytes;
      await this.#file.write(start, next.subarray(start, at));
    }
  }
}

/** A key slot's key comes from standard input and ends after its own length. */
function keyOnInput(key: Uint8Array): string[] {
  return ['--key-file', '-', '--keyfile-size', `${key.length}`];
}

/**
 * A name of its own for each start, because a cryptsetup that a killed agent left running must not
 * find the new copy; what that agent left is taken away.
 */
async function freshCopyPath(stateDir: string, diskPath: string): Promise<string> {
  const prefix = `header-${toHex(crypto.hash('sha256', utf8(diskPath)).subarray(0, 8))}-`;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  for (const name of await readdir(stateDir)) {
    if (name.startsWith(prefix)) await rm(join(stateDir, name), { force: true });
  }
  return join(stateDir, `${prefix}${toHex(crypto.randomBytes(8))}`);
}

async function writeCopy(copy: string, image: Uint8Array): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const handle = await open(copy, flags, 0o600);
  try {
    await handle.writeFile(image);
    // luksFormat wants to see room for data behind the header.
    await handle.truncate(headerBytes + (1 << 20));
  } finally {
    await handle.close();
  }
}

function failed(action: string, complaint: string): CvmpError {
  return new CvmpError('DISK', `cryptsetup ${action}: ${complaint}`);
}
