/** Time, passed in so that a test can be it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Runs `what` once after `ms`, unless the returned function is called before. */
  after(ms: number, what: () => void): () => void;
}

/** Timers of this process. @param keepsAlive whether the process waits for them */
export function systemClock(now: () => number, keepsAlive: boolean): Clock {
  return {
    now,
    after(ms, what) {
      const timer = setTimeout(what, ms);
      if (!keepsAlive) timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** Resolves after `ms`. */
export function wait(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** `work`, or what `late` gives where it takes longer than `ms`; the work goes on. */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  late: () => T,
): Promise<T> {
  let cancel = () => {};
  const timeout = new Promise<T>((resolve) => {
    cancel = clock.after(ms, () => resolve(late()));
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    cancel();
  }
}
