import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import type { CvmEvidence } from '#gen/cvmp/v1/evidence_pb.js';
import type { GuestActivateRequest, GuestStatusResponse } from '#gen/cvmp/v1/guest_pb.js';
import { logField } from '#server/host/log.js';
import type { HostDriver } from '../driver/driver.js';
import type { Cvm } from '../lifecycle/cvm.js';
import type { Registry } from '../lifecycle/registry.js';
import { type GuestClient, guestClient } from './client.js';
import { Follower } from './follower.js';

/** Evidence with certificates and logs, and room for what wraps it. */
const evidenceBytesMax = 2 * 1024 * 1024;
/** A status is a few numbers and a sentence; the guest is not trusted to keep to it. */
const statusBytesMax = 16 * 1024;

export interface GuestsOptions {
  readonly driver: Pick<HostDriver, 'guestChannel'>;
  readonly registry: Registry;
  /** How long a guest has to make evidence, ms. */
  readonly evidenceMsMax: number;
  readonly log: Logger;
}

/** A credential of a tenant. */
export type GuestCredential = Pick<
  GuestActivateRequest,
  'nonce' | 'credentialBlob' | 'encryptedSecret'
>;

const anyOf = (...signals: AbortSignal[]) => AbortSignal.any(signals);

/**
 * What the platform hears of the Key Agents inside running CVMs. It only relays: whatever a guest
 * says matters to the tenant, who verifies it.
 */
export class Guests {
  readonly #options: GuestsOptions;
  readonly #followers = new Map<string, { readonly bootCount: number; readonly by: Follower }>();
  readonly #statuses = new Map<string, GuestStatusResponse>();
  readonly #listeners = new Set<(cvmId: string) => void>();
  readonly #unwatch: () => void;

  /** Follows every CVM that runs, from now on. */
  constructor(options: GuestsOptions) {
    this.#options = options;
    this.#unwatch = options.registry.onChange(({ cvm, gone }) => this.#adjust(cvm, gone));
    for (const cvm of options.registry.all()) this.#adjust(cvm, false);
  }

  /** The last status that the guest told since its last start. */
  status(cvmId: string): GuestStatusResponse | undefined {
    return this.#statuses.get(cvmId);
  }

  /** @returns a function that ends it */
  onChange(listener: (cvmId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Relays a nonce into a running CVM and its evidence back, unchanged.
   * @throws CvmpError CVM_STATE, GUEST_UNREACHABLE
   */
  async evidence(cvm: Cvm, nonce: Uint8Array, signal: AbortSignal): Promise<CvmEvidence> {
    return this.#relay(cvm, 'evidence', async ({ service }, late) => {
      const { evidence } = await service.guestEvidence({ nonce }, { signal: anyOf(signal, late) });
      if (evidence === undefined) throw new Error('it sent none');
      return evidence;
    });
  }

  /**
   * Relays a credential into a running CVM and the proof that it was opened back, unchanged.
   * @throws CvmpError CVM_STATE, GUEST_UNREACHABLE
   */
  async activate(cvm: Cvm, credential: GuestCredential, signal: AbortSignal): Promise<Uint8Array> {
    return this.#relay(cvm, 'proof', async ({ service }, late) => {
      const { proof } = await service.guestActivate(credential, { signal: anyOf(signal, late) });
      return proof;
    });
  }

  async #relay<T>(
    cvm: Cvm,
    what: string,
    ask: (guest: GuestClient, late: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (cvm.state !== 'running') {
      throw new CvmpError('CVM_STATE', `the CVM is ${cvm.state}, not running`, { field: 'cvm' });
    }
    const { driver, evidenceMsMax } = this.#options;
    const guest = guestClient(() => driver.guestChannel(cvm.cvmId), evidenceBytesMax);
    try {
      return await ask(guest, AbortSignal.timeout(evidenceMsMax));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : 'unknown';
      throw new CvmpError('GUEST_UNREACHABLE', `no ${what} from the guest: ${why}`, { cause });
    } finally {
      guest.close();
    }
  }

  async close(): Promise<void> {
    this.#unwatch();
    const followers = [...this.#followers.values()].map(({ by }) => by);
    for (const follower of followers) follower.abort();
    await Promise.all(followers.map(({ done }) => done));
  }

  #adjust({ cvmId, bootCount, state }: Cvm, gone: boolean): void {
    const followed = this.#followers.get(cvmId);
    if (gone) {
      followed?.by.abort();
      this.#followers.delete(cvmId);
      this.#statuses.delete(cvmId);
    } else if (state !== 'running') {
      followed?.by.end();
    } else if (followed?.bootCount !== bootCount) {
      followed?.by.abort();
      this.#statuses.delete(cvmId);
      const { driver, log } = this.#options;
      const by = new Follower(
        () => guestClient(() => driver.guestChannel(cvmId), statusBytesMax),
        (status) => this.#heard(cvmId, by, status),
        log.child({ [logField.cvmId]: cvmId }),
      );
      this.#followers.set(cvmId, { bootCount, by });
    }
  }

  #heard(cvmId: string, by: Follower, status: GuestStatusResponse): void {
    if (this.#followers.get(cvmId)?.by !== by) return;
    this.#statuses.set(cvmId, status);
    for (const listener of this.#listeners) listener(cvmId);
  }
}
