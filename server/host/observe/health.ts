import type { Readiness } from './readiness.js';

/** What an HTTP probe is told. */
export interface HealthAnswer {
  readonly status: 200 | 503;
  /** JSON. */
  readonly body: string;
}

/**
 * `/livez`: this process answers. `/readyz`: it also serves; if not, `reasons` are the codes that
 * calls are refused with.
 * @returns undefined where the path is neither
 */
export function healthAnswer(path: string, readiness: Readiness): HealthAnswer | undefined {
  if (path === '/livez') return { status: 200, body: '{"status":"LIVE"}\n' };
  if (path !== '/readyz') return undefined;
  const { isReady, reasons } = readiness;
  const body = { status: isReady ? 'SERVING' : 'NOT_SERVING', reasons };
  return { status: isReady ? 200 : 503, body: `${JSON.stringify(body)}\n` };
}
