import type { Logger } from 'pino';
import { logField } from '../log.js';

/** What a program does with its process; main.ts gives the real one. */
export interface ProcessSignals {
  on(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', listener: () => void): unknown;
}

/**
 * Resolves when the process is asked to stop. A second signal calls `force`: somebody does not want
 * to wait.
 */
export function untilStopped(
  signals: ProcessSignals,
  log: Logger,
  force: () => void,
): Promise<'SIGTERM' | 'SIGINT'> {
  return new Promise((resolve) => {
    let stopping = false;
    const listener = (signal: 'SIGTERM' | 'SIGINT') => () => {
      if (stopping) {
        log.warn({ [logField.signal]: signal }, 'stopping by force');
        force();
        return;
      }
      stopping = true;
      log.info({ [logField.signal]: signal }, 'stopping');
      resolve(signal);
    };
    signals.on('SIGTERM', listener('SIGTERM'));
    signals.on('SIGINT', listener('SIGINT'));
  });
}
