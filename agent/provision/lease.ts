/** A timer counts no further than this (24.8 days). */
const delayMsMax = 2 ** 31 - 1;
/** The guest's clock is the provider's to set: it must not make the agent ask without end. */
const delayMsMin = 5_000;

/**
 * How long to wait before attesting again: between 70 and 90 hundredths of the lease, so that a
 * fleet that booted together does not come back together.
 * @param random from 0 up to but not including 1
 */
export function renewalDelay(leaseExpires: number, now: number, random: number): number {
  const delay = Math.round((leaseExpires - now) * (0.7 + 0.2 * random));
  return Math.min(Math.max(delay, delayMsMin), delayMsMax);
}
