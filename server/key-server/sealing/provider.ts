import { decode } from '#core/cbor/decode.js';
import { asArray, asText } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import type { MasterKey } from '../store/master-key.js';

/** Where a master key comes from. */
export type ProviderKind = 'file' | 'credential' | 'passphrase' | 'shamir' | 'pkcs11';

/** A master key that was just made. */
export interface Created {
  readonly masterKey: MasterKey;
  /** What is to be handed to persons, each to one, and kept nowhere else. */
  readonly shares: readonly string[];
}

/** What persons enter until there is a master key. */
export interface Entry {
  /** Entries of which something is known already, and how many it takes. */
  readonly entered: number;
  readonly needed: number;
  /**
   * Takes one entry, and overwrites it.
   * @returns the master key where that was the last one
   * @throws CvmpError MASTER_KEY naming what is wrong with it; then it does not count
   */
  enter(secret: Uint8Array): Promise<MasterKey | undefined>;
  /** Forgets what was entered. */
  reset(): void;
}

/** One way to keep a master key. What one makes, the same kind opens from its description. */
export interface Provider {
  readonly kind: ProviderKind;
  /** @throws CvmpError CONFIG, ALREADY_EXISTS, USAGE */
  create(): Promise<Created>;
  /**
   * Opens without anybody's help; absent where persons must enter something.
   * @throws CvmpError CONFIG, MASTER_KEY
   */
  readonly open?: (description: Uint8Array) => Promise<MasterKey>;
  /** Absent where {@link open} is. @throws CvmpError CONFIG */
  readonly entry?: (description: Uint8Array) => Entry;
}

/**
 * What stands behind the kind in a description.
 * @throws CvmpError CONFIG where the store's master key is of another kind; MALFORMED
 */
export function parametersOf(description: Uint8Array, kind: ProviderKind): readonly CborValue[] {
  const [first, ...parameters] = asArray(decode(description), 'master', { min: 1 });
  const found = asText(first, 'master.kind');
  if (found !== kind) {
    const what = `the master key of this store is of provider ${found}, not ${kind}`;
    const field = 'store.master_key.provider';
    throw new CvmpError('CONFIG', what, { field });
  }
  return parameters;
}
