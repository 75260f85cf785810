import { CvmpError } from '#core/errors.js';
import { type Journal, StaleRead } from '../journal.js';
import type { Keyring } from '../keyring.js';
import type { LatePut } from '../seal.js';
import type { Store } from '../store.js';
import { eraseRefOf } from '../tenant-keys.js';

const prefix = 'erasing/';
const atOnce = 500;
const refDigits = 12;

/**
 * Marks that go into the batch of a key's tombstone: these wrapped root keys are to be erased. First
 * the tombstone is durable, then {@link finishErasing} destroys their erase keys, now or after a
 * crash; so what was said to be destroyed is, and nothing is that was not said to be.
 */
export function eraseMarks(wrapped: readonly Uint8Array[]): readonly LatePut[] {
  return wrapped.map((root) => ({
    key: `${prefix}${eraseRefOf(root).toString(16).padStart(refDigits, '0')}`,
    expected: 0,
    version: 1,
    seal: () => new Uint8Array(),
  }));
}

/** {@link eraseMarks} of the root keys that a record loses. */
export function marksOfDropped(
  before: readonly { readonly wrapped: Uint8Array }[],
  after: readonly { readonly wrapped: Uint8Array }[],
): readonly LatePut[] {
  // Roots that stay are the same objects or equal ones; references are never used twice.
  const kept = new Set(after.map(({ wrapped }) => eraseRefOf(wrapped)));
  return eraseMarks(
    before.map(({ wrapped }) => wrapped).filter((wrapped) => !kept.has(eraseRefOf(wrapped))),
  );
}

/**
 * Destroys the erase keys of all marks that are durable, then removes the marks. Called after a
 * tombstone, and at start.
 * @throws CvmpError STORE_WRITE, STORE_CORRUPT
 */
export async function finishErasing<Event>(
  store: Store,
  journal: Journal<Event>,
  keyring: Keyring,
): Promise<void> {
  for (;;) {
    const marks = await store.list({ prefix, limit: atOnce });
    if (marks.length === 0) return;
    await keyring.destroyRefs(marks.map(({ key }) => refOf(key)));
    const deletes = marks.map(({ key, version }) => ({ key, expected: version }));
    try {
      await journal.submit({ deletes });
    } catch (error) {
      // Another call removed some of them; what is left is listed again.
      if (!(error instanceof StaleRead)) throw error;
    }
  }
}

function refOf(key: string): number {
  const digits = key.slice(prefix.length);
  const ref = Number.parseInt(digits, 16);
  if (digits.length !== refDigits || !Number.isSafeInteger(ref)) {
    throw new CvmpError('STORE_CORRUPT', `the record ${key} names no erase key`);
  }
  return ref;
}
