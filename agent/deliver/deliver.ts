import type { AgentConfig } from '../config.js';
import { deliverToFile } from './file.js';
import { deliverToSocket } from './socket.js';

/**
 * Hands the Security Key to whom the configuration names; returns when it is there. With `disk` the
 * agent has opened the disk itself and nothing is left to do.
 * @throws CvmpError DELIVERY, CANCELLED
 */
export async function deliver(
  key: Uint8Array,
  config: Pick<AgentConfig, 'deliver' | 'allowPersistentFiles'>,
  signal: AbortSignal,
): Promise<void> {
  const { deliver: to, allowPersistentFiles } = config;
  if (to.kind === 'file') await deliverToFile(key, to.path, allowPersistentFiles);
  if (to.kind === 'socket') await deliverToSocket(key, to.path, signal);
}
