import { CvmpError } from '#core/errors.js';
import { addressOf, Buckets, networkOf } from '../grpc/rate.js';
import type { Caller } from '../handlers.js';
import type { TenantRegistry } from './tenants.js';

/** What callers may cost a server in a minute. */
export interface RateSettings {
  /** Calls from one address, whoever makes them. */
  readonly callsPerMinutePerAddressMax: number;
  /** Calls of one tenant, unless an operator set another limit for it. */
  readonly callsPerMinutePerTenantMax: number;
  /** Attestations from one address, in signature checks. */
  readonly attestationCostPerMinuteMax: number;
}

/** What a call without good credentials costs: guessing is slower than asking. */
const refusedCost = 20;
/** Some 10 MB each. */
const addressesMax = 100_000;
const tenantsMax = 100_000;

/**
 * What addresses and tenants have left of their minute. Health and reflection are no calls and cost
 * nothing; requests inside a session are bounded by the session.
 */
export class CallRates {
  readonly #settings: () => RateSettings;
  readonly #tenants: Pick<TenantRegistry, 'get'>;
  readonly #calls: Buckets;
  readonly #attestations: Buckets;
  readonly #ofTenants: Buckets;

  /** @param settings read at every call, since they may be set anew */
  constructor(
    settings: () => RateSettings,
    tenants: Pick<TenantRegistry, 'get'>,
    now: () => number,
  ) {
    this.#settings = settings;
    this.#tenants = tenants;
    this.#calls = new Buckets(addressesMax, now);
    this.#attestations = new Buckets(addressesMax, now);
    this.#ofTenants = new Buckets(tenantsMax, now);
  }

  /** Counts a call before anything is known of its caller. @throws CvmpError RATE */
  admitAddress(peer: string): void {
    const { callsPerMinutePerAddressMax: most } = this.#settings();
    demand(this.#calls.take(networkOf(addressOf(peer)), most), 'this address called too often');
  }

  /** Makes a call whose credentials were no good cost more. */
  refused(peer: string): void {
    const { callsPerMinutePerAddressMax: most } = this.#settings();
    this.#calls.charge(networkOf(addressOf(peer)), most, refusedCost);
  }

  /** Counts a call of a tenant. @throws CvmpError RATE */
  async admitCaller(caller: Caller): Promise<void> {
    if (caller.role !== 'tenant') return;
    const tenant = await this.#tenants.get(caller.tenantId);
    const own = tenant?.limits.callsPerMinuteMax;
    const most = own ?? this.#settings().callsPerMinutePerTenantMax;
    demand(this.#ofTenants.take(caller.tenantId, most), 'the tenant called too often');
  }

  /** Before evidence is verified. @param cost in signature checks; @throws CvmpError RATE */
  admitAttestation(peer: string, cost: number): void {
    const { attestationCostPerMinuteMax: most } = this.#settings();
    const wait = this.#attestations.take(networkOf(addressOf(peer)), most, cost);
    demand(wait, 'this address had too much evidence verified');
  }

  /** Evidence that was refused costs more than it took. */
  attestationFailed(peer: string, cost: number): void {
    const { attestationCostPerMinuteMax: most } = this.#settings();
    this.#attestations.charge(networkOf(addressOf(peer)), most, cost);
  }
}

function demand(waitMilliseconds: number, what: string): void {
  if (waitMilliseconds === 0) return;
  throw new CvmpError('RATE', what, { retryAfterMs: waitMilliseconds });
}
