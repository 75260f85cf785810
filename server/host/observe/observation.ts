import { Metrics } from './metrics.js';
import { Readiness } from './readiness.js';

/** What a server says of itself while it runs, beside its log. */
export interface Observation {
  readonly metrics: Metrics;
  readonly readiness: Readiness;
}

export function createObservation(): Observation {
  return { metrics: new Metrics(), readiness: new Readiness() };
}
