import { isIPv4, isIPv6 } from 'node:net';

export interface RateLimits {
  /** For each address: what it gains in a minute, and may use at once after a pause. */
  readonly perMinuteMax: number;
  /** Addresses that are remembered. */
  readonly addressesMax: number;
}

interface Bucket {
  tokens: number;
  filledAt: number;
}

/**
 * Token buckets by name: each gains so much in a minute, and holds so much after a pause. The names
 * that came longest ago are forgotten first: theirs are the fullest buckets.
 */
export class Buckets {
  readonly #namesMax: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param now milliseconds */
  constructor(namesMax: number, now: () => number) {
    this.#namesMax = namesMax;
    this.#now = now;
  }

  /**
   * Takes `cost` where the bucket has it.
   * @returns 0 where it was taken; else the milliseconds until it could be
   */
  take(name: string, perMinuteMax: number, cost = 1): number {
    const bucket = this.#filled(name, perMinuteMax);
    // What costs more than a bucket ever holds takes the whole of it.
    const due = Math.min(cost, perMinuteMax);
    if (bucket.tokens < due) return Math.ceil(((due - bucket.tokens) / perMinuteMax) * 60_000);
    bucket.tokens -= due;
    return 0;
  }

  /** Takes `cost` also where the bucket does not have it, down to a whole bucket of debt. */
  charge(name: string, perMinuteMax: number, cost: number): void {
    const bucket = this.#filled(name, perMinuteMax);
    bucket.tokens = Math.max(-perMinuteMax, bucket.tokens - cost);
  }

  #filled(name: string, perMinuteMax: number): Bucket {
    const now = this.#now();
    const bucket = this.#buckets.get(name) ?? { tokens: perMinuteMax, filledAt: now };
    const gained = (Math.max(0, now - bucket.filledAt) / 60_000) * perMinuteMax;
    bucket.tokens = Math.min(perMinuteMax, bucket.tokens + gained);
    bucket.filledAt = now;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= this.#namesMax) break;
      this.#buckets.delete(oldest);
    }
    return bucket;
  }
}

/** Admits so many of something in a minute for each peer address. */
export class RateByAddress {
  readonly #limits: RateLimits;
  readonly #buckets: Buckets;

  /** @param now milliseconds */
  constructor(limits: RateLimits, now: () => number) {
    this.#limits = limits;
    this.#buckets = new Buckets(limits.addressesMax, now);
  }

  /** Whether this address may; counts it if so. */
  take(address: string): boolean {
    return this.#buckets.take(networkOf(address), this.#limits.perMinuteMax) === 0;
  }
}

/** An IPv4 address, also where it is written as IPv6; of IPv6 the /64, which one host has whole. */
export function networkOf(address: string): string {
  const plain = address.split('%')[0] ?? '';
  const mapped = /^::ffff:([0-9.]+)$/i.exec(plain)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  if (!isIPv6(plain)) return plain;
  const [front = '', back] = plain.split('::');
  const before = front === '' ? [] : front.split(':');
  const after = back === undefined || back === '' ? [] : back.split(':');
  const missing = back === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array<string>(Math.max(0, missing)).fill('0'), ...after];
  const first = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${first.join(':')}::/64`;
}

/** "host:port" without the port. */
export function addressOf(peer: string): string {
  const port = peer.lastIndexOf(':');
  return port < 0 ? peer : peer.slice(0, port);
}
