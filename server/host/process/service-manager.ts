import { execFile } from 'node:child_process';
import type { Logger } from 'pino';
import { logField } from '../log.js';

/** What systemd told a service of type notify in its environment. */
export interface ServiceEnvironment {
  /** NOTIFY_SOCKET; undefined: nobody wants to know. */
  readonly notifySocket: string | undefined;
  /** WATCHDOG_USEC. */
  readonly watchdogMicroseconds: string | undefined;
}

/** Tells who started this process how it is (sd_notify). */
export interface ServiceManager {
  ready(status: string): void;
  reloading(): void;
  stopping(): void;
  close(): void;
}

/** Sends one message; lines as sd_notify has them. */
export type Notify = (message: readonly string[]) => Promise<void>;

/**
 * Tells systemd READY, RELOADING, STOPPING, and WATCHDOG twice in each of its periods, for as long
 * as the event loop turns. Messages arrive in order; one that cannot be sent is a line in the log.
 * Does nothing where nobody asked.
 */
export function createServiceManager(
  { notifySocket, watchdogMicroseconds }: ServiceEnvironment,
  log: Logger,
  notify: Notify = systemdNotify,
): ServiceManager {
  let sent: Promise<void> = Promise.resolve();
  const send = (...message: string[]) => {
    if (notifySocket === undefined) return;
    sent = sent
      .then(() => notify(message))
      .catch((error: Error) => {
        log.warn({ [logField.reason]: error.message }, 'service manager not told');
      });
  };
  const periodMs = Number(watchdogMicroseconds ?? 0) / 1000;
  const watchdog =
    periodMs > 0 ? setInterval(() => send('WATCHDOG=1'), periodMs / 2).unref() : undefined;
  return {
    ready: (status) => send('READY=1', `STATUS=${status}`),
    reloading: () => send('RELOADING=1'),
    stopping: () => send('STOPPING=1', 'STATUS=answering what is under way'),
    close: () => clearInterval(watchdog),
  };
}

/**
 * By the program that comes with systemd: Node has no datagram sockets of the file system, and no
 * package has them without native code that must be compiled (docs/decisions/0019).
 */
function systemdNotify(message: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('systemd-notify', [...message], { timeout: 5000 }, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
