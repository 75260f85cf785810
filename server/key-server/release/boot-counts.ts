import { toHex } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import { type BootCounts, wentBack } from '#core/rats/claims.js';
import type { AppraisedEvidence, EvidenceKeeper } from '../log/evidence.js';
import type { Journal, Receipt } from '../store/journal.js';
import type { Keyring } from '../store/keyring.js';
import type { AuditEvent, BootCountLog } from './contract.js';
import { deciding } from './deciding.js';
import { type Held, SealedRecords } from './records.js';

const prefix = 'tpm/';
const cacheMax = 10_000;
const countMax = 0xffff_ffff;

interface Tools {
  readonly journal: Journal<AuditEvent>;
  readonly keyring: Keyring;
  readonly evidence: Pick<EvidenceKeeper, 'puts' | 'forget'>;
}

const codec = {
  encode: ({ signer, resets, restarts }: BootCounts) =>
    encode(
      new Map<number, CborValue>([
        [1, signer],
        [2, resets],
        [3, restarts],
      ]),
    ),
  decode: (bytes: Uint8Array): BootCounts =>
    decodeMap(bytes, 'boot_counts', (m) => ({
      signer: m.bytes(1, 'signer', { length: 32 }),
      resets: m.integer(2, 'resets', { max: countMax }),
      restarts: m.integer(3, 'restarts', { max: countMax }),
    })),
};

/**
 * What the TPM of each AK counted when a policy last admitted it: never less (protocol.md s.4 step 7).
 * Only admitted TPMs are kept, so nobody else can fill the store.
 */
export class BootCountRecords implements BootCountLog {
  readonly #tools: Tools;
  readonly #records: SealedRecords<BootCounts>;

  constructor(tools: Tools) {
    this.#tools = tools;
    this.#records = new SealedRecords(tools.journal, codec, cacheMax);
  }

  /** @throws CvmpError TPM_ROLLED_BACK */
  async check(counts: BootCounts): Promise<void> {
    const held = await this.#read(keyOf(counts));
    if (held === undefined || !wentBack(held.value, counts)) return;
    const text = ({ resets, restarts }: BootCounts) => `${resets} resets, ${restarts} restarts`;
    const message = `the TPM counts ${text(counts)}, after ${text(held.value)}`;
    throw new CvmpError('TPM_ROLLED_BACK', message, { field: 'attest.reset_count' });
  }

  /** Records an attestation that was granted, and the counts where they have risen, as one. */
  record(
    event: AuditEvent,
    counts: BootCounts,
    appraised?: AppraisedEvidence,
  ): Promise<Receipt | undefined> {
    const { journal, keyring, evidence } = this.#tools;
    const key = keyOf(counts);
    return deciding(journal, event, {
      load: async () => ({ read: await this.#read(key), kept: await evidence.puts(appraised) }),
      forget: () => {
        this.#records.forget(key);
        evidence.forget();
      },
      decide: ({ read, kept }) => {
        const held = this.#records.peek(key) ?? read;
        const answer = (receipt: Receipt | undefined) => receipt;
        // Another session of the same TPM may have been quicker.
        if (held !== undefined && !isAhead(held, counts)) return { puts: kept, answer };
        const put = this.#records.put(key, held?.version ?? 0, counts, keyring.server);
        return {
          puts: [put, ...kept],
          submitted: () => this.#records.submitted(put, counts),
          answer,
        };
      },
    });
  }

  #read(key: string): Promise<Held<BootCounts> | undefined> {
    return this.#records.read(key, this.#tools.keyring.server);
  }
}

const keyOf = ({ signer }: BootCounts) => `${prefix}${toHex(signer)}`;

function isAhead({ value }: Held<BootCounts>, counts: BootCounts): boolean {
  const isSame = value.resets === counts.resets && value.restarts === counts.restarts;
  return !isSame && !wentBack(value, counts);
}
