import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import { errorFields } from '#server/host/log.js';
import type { Observation } from '#server/host/observe/observation.js';
import type { EndorsementKeeper } from './endorsements/keeper.js';
import type { KeyServerMetrics } from './metrics.js';
import type { KeyServerState } from './release/contract.js';

const healthMilliseconds = 1000;
const endorsementMilliseconds = 60_000;

export interface FollowingParts {
  /** undefined while the server is sealed. */
  readonly state: () => Pick<KeyServerState, 'failure' | 'guard' | 'log'> | undefined;
  readonly keeper: Pick<EndorsementKeeper, 'summary'>;
  readonly observation: Pick<Observation, 'readiness'>;
  readonly metrics: KeyServerMetrics;
  readonly log: Logger;
}

/**
 * Looks again and again whether the server can still decide, and how old what it builds on is, for
 * health and metrics.
 * @returns ends it
 */
export function follow(parts: FollowingParts): () => void {
  const { state, keeper, observation, metrics, log } = parts;
  const { readiness } = observation;
  const look = () => {
    const open = state();
    if (open === undefined) return;
    const code = open.failure()?.code;
    if (code !== undefined) readiness.set(code, true);
    readiness.set('SERVER_ROLLBACK', open.guard.rollback !== undefined);
    open.log.newest().then(
      ({ size, time }) => {
        metrics.checkpoint = { size, time };
      },
      // A store that fails says so by its code.
      () => undefined,
    );
  };
  const count = () => {
    keeper.summary().then(
      (summary) => {
        metrics.endorsements = summary;
      },
      (error) => {
        if (error instanceof CvmpError) log.warn(errorFields(error), 'endorsements not counted');
        else throw error;
      },
    );
  };
  look();
  count();
  const timers = [
    setInterval(look, healthMilliseconds).unref(),
    setInterval(count, endorsementMilliseconds).unref(),
  ];
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
