/** A timer counts no further than this (24.8 days). */
const delayMsMax = 2 ** 31 - 1;
/** The guest's clock is the provider's to set: it must not make the agent ask without end. */
const delayMsMin = 5_000;

/** A Key Server that restarts is met again soon by few, and by all within half a minute. */
const reconnectMsMax = 30_000;

/**
 * How long to wait before going back to a Key Server whose stream was lost: anything up to half a
 * minute, and no more than a tenth of what is left of the lease.
 * @param random from 0 up to but not including 1
 */
export function reconnectDelay(leaseExpires: number, now: number, random: number): number {
  const most = Math.min(reconnectMsMax, Math.max(0, leaseExpires - now) / 10);
  return Math.round(most * random);
}

/**
 * How long to wait before attesting again: between 70 and 90 hundredths of the lease, so that a
 * fleet that booted together does not come back together.
 * @param random from 0 up to but not including 1
 */
export function renewalDelay(leaseExpires: number, now: number, random: number): number {
  const delay = Math.round((leaseExpires - now) * (0.7 + 0.2 * random));
  return Math.min(Math.max(delay, delayMsMin), delayMsMax);
}
