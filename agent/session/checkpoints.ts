import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { equalBytes } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes } from '#core/cbor/read.js';
import type { EcPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import {
  checkpointBytesMax,
  openCheckpoint,
  parseCheckpoint,
  type SignedCheckpoint,
} from '#core/log/checkpoint.js';

/** Key Servers of one config document; a ClientInit shows no more. */
const serversMax = 8;

/**
 * The newest checkpoint of each Key Server that this agent has met, in a file: what it holds them to
 * at the next boot (protocol.md s.6.4). Nothing in it is secret, and each is signed; whoever can
 * write the file can only take this memory away.
 */
export class CheckpointKeeper {
  readonly #path: string;
  readonly #kept = new Map<string, SignedCheckpoint>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * @param onDamaged told where the file holds something else; then nothing is kept yet
   * @throws CvmpError CONFIG where the file is there and cannot be read
   */
  static async open(
    path: string,
    onDamaged: (error: CvmpError) => void,
  ): Promise<CheckpointKeeper> {
    const keeper = new CheckpointKeeper(path);
    try {
      for (const one of decodeFile(await readFile(path))) keeper.#put(one);
    } catch (error) {
      if (error instanceof CvmpError) onDamaged(error);
      else if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusable(path, error);
    }
    return keeper;
  }

  /** One of each Key Server. */
  get all(): readonly SignedCheckpoint[] {
    return [...this.#kept.values()];
  }

  /**
   * Keeps a checkpoint, durably, unless a newer one is kept already.
   * @throws CvmpError SERVER_UNTRUSTED where the server did not sign it, LOG_INCONSISTENT where it
   *   signed two different logs of one size, CONFIG where the file cannot be written
   */
  async keep(signed: Uint8Array, keyServer: EcPublicKey): Promise<void> {
    const next = await openCheckpoint(signed, keyServer).catch(distrust);
    const kept = this.#kept.get(nameOf(next));
    if (kept !== undefined && kept.size === next.size && !equalBytes(kept.root, next.root)) {
      const what = `the Key Server signed two logs of ${next.size} records`;
      throw new CvmpError('LOG_INCONSISTENT', what);
    }
    if (kept !== undefined && kept.size >= next.size) return;
    this.#put(next);
    this.#writing = this.#writing.catch(() => {}).then(() => this.#write());
    await this.#writing;
  }

  #put(checkpoint: SignedCheckpoint): void {
    const name = nameOf(checkpoint);
    this.#kept.delete(name);
    this.#kept.set(name, checkpoint);
    const oldest = this.#kept.keys().next();
    if (this.#kept.size > serversMax && !oldest.done) this.#kept.delete(oldest.value);
  }

  /** Whole or not at all, whenever power fails. */
  async #write(): Promise<void> {
    const fresh = `${this.#path}.new`;
    try {
      const file = await open(fresh, 'w', 0o600);
      try {
        await file.writeFile(encode(this.all.map(({ signed }) => signed)));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(fresh, this.#path);
      const folder = await open(dirname(this.#path), 'r');
      await folder.sync().finally(() => folder.close());
    } catch (cause) {
      throw unusable(this.#path, cause);
    }
  }
}

const nameOf = ({ keyServer }: SignedCheckpoint) => Buffer.from(keyServer).toString('hex');

function decodeFile(bytes: Uint8Array): readonly SignedCheckpoint[] {
  const field = 'checkpoint_file';
  const maxBytes = serversMax * (checkpointBytesMax + 8);
  const list = asArray(decode(new Uint8Array(bytes), { field, maxBytes }), field);
  return list.map((item) => parseCheckpoint(asBytes(item, field)));
}

function unusable(path: string, cause: unknown): CvmpError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
  return new CvmpError('CONFIG', `${path} cannot be used: ${code}`, {
    cause,
    field: 'checkpoint_file',
  });
}

function distrust(cause: unknown): never {
  const what = 'the Key Server gave a checkpoint that it did not sign';
  throw new CvmpError('SERVER_UNTRUSTED', what, { cause });
}
