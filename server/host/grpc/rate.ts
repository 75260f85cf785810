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
 * Admits so many of something in a minute for each peer address (token bucket). The addresses that
 * came longest ago are forgotten first: theirs are the fullest buckets.
 */
export class RateByAddress {
  readonly #limits: RateLimits;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param now milliseconds */
  constructor(limits: RateLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  /** Whether this address may; counts it if so. */
  take(address: string): boolean {
    const { perMinuteMax, addressesMax } = this.#limits;
    const now = this.#now();
    const network = networkOf(address);
    const bucket = this.#buckets.get(network) ?? { tokens: perMinuteMax, filledAt: now };
    const gained = (Math.max(0, now - bucket.filledAt) / 60_000) * perMinuteMax;
    bucket.tokens = Math.min(perMinuteMax, bucket.tokens + gained);
    bucket.filledAt = now;
    this.#buckets.delete(network);
    this.#buckets.set(network, bucket);
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= addressesMax) break;
      this.#buckets.delete(oldest);
    }
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
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
