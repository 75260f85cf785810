import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { concat } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import type { Crypto } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';

/** Wraps the keys that records are sealed under. An HSM can stand behind it. */
export interface MasterKey {
  /** What the vault remembers of it, deterministic CBOR: provider and public parameters. */
  readonly description: Uint8Array;
  /** @param context bound to the result; unwrapping needs the same */
  wrap(key: Uint8Array, context: Uint8Array): Promise<Uint8Array>;
  /** @throws CvmpError DECRYPT_FAILED */
  unwrap(wrapped: Uint8Array, context: Uint8Array): Promise<Uint8Array>;
  /** Forgets it. */
  close(): void;
}

/** Bytes. */
export const masterKeyLength = 32;
/** Random bytes that tell descriptions apart whose keys have no parameters. */
export const descriptionIdLength = 8;
const nonceLength = 24;

/**
 * Makes a master key file: 32 random bytes, mode 0600. Whoever has it and the store has all keys;
 * keep a copy apart from the store's backups.
 * @throws CvmpError ALREADY_EXISTS, CONFIG
 */
export function createMasterKeyFile(path: string, randomBytes: Crypto['randomBytes']): void {
  const key = randomBytes(masterKeyLength);
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CvmpError('ALREADY_EXISTS', `there is a file ${path} already`, { cause });
    }
    throw new CvmpError('CONFIG', `the master key ${path} cannot be made`, { cause });
  }
  try {
    writeSync(file, key);
    fsyncSync(file);
  } finally {
    closeSync(file);
    key.fill(0);
  }
}

/**
 * Reads a master key file.
 * @param description as the vault has it; that of a new one unless told
 * @throws CvmpError CONFIG: not there, not 32 bytes, or others than its owner may read it
 */
export function readMasterKeyFile(
  path: string,
  description = encode(['file', crypto.randomBytes(descriptionIdLength)]),
): MasterKey {
  return masterKeyOf(readKey(path), description);
}

/**
 * A master key that is in this process: it stays in memory until it is closed, since tenants' KEKs are
 * unwrapped as they are needed.
 * @param key 32 bytes, kept, overwritten by close
 * @param description as {@link MasterKey.description}
 */
export function masterKeyOf(key: Uint8Array, description: Uint8Array): MasterKey {
  let isOpen = true;
  const demandOpen = () => {
    if (!isOpen) throw new TypeError('the master key is closed');
  };
  return {
    description,
    async wrap(secret, context) {
      demandOpen();
      const nonce = crypto.randomBytes(nonceLength);
      return concat(nonce, crypto.xchachaSeal(key, nonce, secret, context));
    },
    async unwrap(wrapped, context) {
      demandOpen();
      const nonce = wrapped.subarray(0, nonceLength);
      return crypto.xchachaOpen(key, nonce, wrapped.subarray(nonceLength), context);
    },
    close() {
      isOpen = false;
      key.fill(0);
    },
  };
}

function readKey(path: string): Uint8Array {
  return readSecretFile(path, 'master key', (size) =>
    size === masterKeyLength ? undefined : `has ${size} bytes, not ${masterKeyLength}`,
  );
}

/**
 * Reads a secret from a file that is for its owner alone.
 * @param what names it in errors
 * @param wrongSize says what is wrong with so many bytes; undefined: nothing
 * @throws CvmpError CONFIG
 */
export function readSecretFile(
  path: string,
  what: string,
  wrongSize: (size: number) => string | undefined,
): Uint8Array {
  const refuse = (why: string, cause?: unknown): never => {
    throw new CvmpError('CONFIG', `the ${what} ${path} ${why}`, { cause });
  };
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    return refuse('cannot be read', cause);
  }
  try {
    const { mode, size } = fstatSync(file);
    if ((mode & 0o077) !== 0) refuse('is open to others than its owner; chmod 600 it');
    const wrong = wrongSize(size);
    if (wrong !== undefined) refuse(wrong);
    const secret = new Uint8Array(size);
    if (readSync(file, secret) !== size) refuse('is cut off');
    return secret;
  } finally {
    closeSync(file);
  }
}
