import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import type { Config, Setting } from '../config/reader.js';
import { errorFields, logField } from '../log.js';

/** What a running server took over of its configuration file; names of settings. */
export interface Reloaded {
  readonly applied: readonly string[];
  /** Changed in the file, but as they were until the server is started again. */
  readonly needRestart: readonly string[];
}

export interface ReloadParts<C> {
  /** Reads the file again. @throws CvmpError CONFIG */
  readonly load: () => Config<C>;
  /** What the server runs with. */
  readonly current: Config<C>;
  /** Takes over what may change, and files that the configuration names. All of it or, thrown, nothing. */
  readonly apply: (value: C) => void | Promise<void>;
  readonly log: Logger;
}

/**
 * Makes what reloads the configuration of a running server: one at a time, all or nothing. A file
 * that is wrong changes nothing.
 * @returns a function that throws CvmpError CONFIG and whatever `apply` throws
 */
export function createReload<C>(parts: ReloadParts<C>): () => Promise<Reloaded> {
  const { load, apply, log } = parts;
  let running = new Map(parts.current.settings);
  let before: Promise<unknown> = Promise.resolve();

  async function reload(): Promise<Reloaded> {
    try {
      const { value, settings } = load();
      const changed = changedNames(running, settings);
      const isLive = (name: string) => (settings.get(name) ?? running.get(name))?.live === true;
      const applied = changed.filter(isLive);
      const needRestart = changed.filter((name) => !isLive(name));
      await apply(value);
      // What needs a restart stays different from the file, and is named again the next time.
      running = new Map([...settings].filter(([name]) => !needRestart.includes(name)));
      for (const name of needRestart) {
        const old = parts.current.settings.get(name);
        if (old !== undefined) running.set(name, old);
      }
      log.info({ [logField.settings]: applied }, 'configuration reloaded');
      if (needRestart.length > 0) {
        log.warn({ [logField.settings]: needRestart }, 'settings need a restart');
      }
      return { applied, needRestart };
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
      log.error(errorFields(error), 'configuration refused, nothing changed');
      throw error;
    }
  }

  return () => {
    const next = before.then(reload);
    before = next.catch(() => undefined);
    return next;
  };
}

function changedNames(
  before: ReadonlyMap<string, Setting>,
  after: ReadonlyMap<string, Setting>,
): readonly string[] {
  const text = (setting: Setting | undefined) => JSON.stringify(setting?.value);
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => text(before.get(name)) !== text(after.get(name)));
}
