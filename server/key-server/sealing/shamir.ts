import { combine, split } from 'shamir-secret-sharing';
import { equalBytes, toHex } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asInteger } from '#core/cbor/read.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { type MasterKey, masterKeyLength, masterKeyOf } from '../store/master-key.js';
import { type Entry, type Provider, parametersOf } from './provider.js';
import { readShare, type Share, shareDigest, shareText } from './share.js';

/** So many persons, of whom so many are needed. */
export interface ShareCounts {
  /** 2 to `total`. */
  readonly threshold: number;
  /** 2 to 16. */
  readonly total: number;
}

export const sharesMax = 16;
const setIdLength = 8;

/** A random master key in shares (Shamir's secret sharing over GF(2^8)); it is stored nowhere. */
export function shamirProvider({ threshold, total }: ShareCounts): Provider {
  return {
    kind: 'shamir',
    async create() {
      if (threshold < 2 || threshold > total || total > sharesMax) {
        throw new CvmpError('CONFIG', `no ${threshold} of ${total} shares: 2 of 2 to 16 of 16`);
      }
      const key = crypto.randomBytes(masterKeyLength);
      const setId = crypto.randomBytes(setIdLength);
      const values = await split(key, total, threshold);
      const shares = values.map((value, i) => ({ setId, threshold, total, number: i + 1, value }));
      const digests = shares.map(shareDigest);
      const description = encode(['shamir', setId, threshold, total, digests]);
      const texts = shares.map(shareText);
      for (const { value } of shares) value.fill(0);
      return { masterKey: masterKeyOf(key, description), shares: texts };
    },
    entry: (description) => new ShareEntry(description),
  };
}

/** Shares, in any order, until there are enough. */
class ShareEntry implements Entry {
  readonly needed: number;
  readonly #description: Uint8Array;
  readonly #setId: Uint8Array;
  readonly #digests: readonly Uint8Array[];
  readonly #shares = new Map<number, Share>();

  /** @throws CvmpError CONFIG, MALFORMED, SIZE */
  constructor(description: Uint8Array) {
    const [setId, threshold, total, digests] = parametersOf(description, 'shamir');
    this.#description = description;
    this.#setId = asBytes(setId, 'master.set_id', { length: setIdLength });
    const length = asInteger(total, 'master.total', { min: 2, max: sharesMax });
    this.needed = asInteger(threshold, 'master.threshold', { min: 2, max: length });
    this.#digests = asArray(digests, 'master.digests', { length }).map((digest) =>
      asBytes(digest, 'master.digests', { length: 16 }),
    );
  }

  get entered(): number {
    return this.#shares.size;
  }

  async enter(text: Uint8Array): Promise<MasterKey | undefined> {
    try {
      const share = readShare(text);
      this.#check(share);
      this.#shares.set(share.number, share);
    } finally {
      text.fill(0);
    }
    if (this.#shares.size < this.needed) return undefined;
    const values = [...this.#shares.values()].map(({ value }) => value);
    const key = await combine(values);
    this.reset();
    return masterKeyOf(key, this.#description);
  }

  reset(): void {
    for (const { value } of this.#shares.values()) value.fill(0);
    this.#shares.clear();
  }

  /** Says which share is wrong, before it can spoil the others. @throws CvmpError MASTER_KEY */
  #check(share: Share): void {
    const { setId, number, value } = share;
    let wrong: string | undefined;
    if (!equalBytes(setId, this.#setId)) {
      wrong = `is of set ${toHex(setId)}; this store's is ${toHex(this.#setId)}`;
    } else if (this.#shares.has(number)) {
      wrong = 'was entered already';
    } else {
      const digest = this.#digests[number - 1];
      const isOurs = digest !== undefined && equalBytes(shareDigest(share), digest);
      if (!isOurs) wrong = 'was not made with this set';
    }
    if (wrong === undefined) return;
    value.fill(0);
    throw new CvmpError('MASTER_KEY', `share ${number} ${wrong}`);
  }
}
