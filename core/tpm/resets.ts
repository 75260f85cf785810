import type { BootCounts } from '../rats/claims.js';
import type { Measurements } from './claims.js';

/** How often this TPM was reset and restarted, as its quote says. @param akDigest 32 bytes */
export function bootCountsOf({ quote }: Measurements, akDigest: Uint8Array): BootCounts {
  const { resetCount, restartCount } = quote.clockInfo;
  return { signer: akDigest, resets: resetCount, restarts: restartCount };
}
