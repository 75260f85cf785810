import { createServer, type ServerResponse } from 'node:http';
import { closed, type Endpoint, endpointText, listen } from '../tls.js';
import { healthAnswer } from './health.js';
import type { Observation } from './observation.js';

/** The port for who watches the server. */
export interface ObservationListener {
  /** "host:port". */
  readonly address: string;
  close(): Promise<void>;
}

/** A scraper or two, and a prober. */
const connectionsMax = 16;
const secondsMax = 10;

/**
 * Serves `/metrics`, `/livez` and `/readyz` over plain HTTP, to be reached from where the operator
 * watches only: nothing on it is secret, but it is nobody else's business.
 */
export async function listenObservation(
  { metrics, readiness }: Observation,
  endpoint: Endpoint,
): Promise<ObservationListener> {
  const server = createServer({ requestTimeout: secondsMax * 1000 }, (request, response) => {
    if (request.method !== 'GET') answer(response, 405, 'text/plain', 'only GET\n');
    else if (request.url === '/metrics') {
      answer(response, 200, 'text/plain; version=0.0.4; charset=utf-8', metrics.text());
    } else {
      const health = healthAnswer(request.url ?? '', readiness);
      if (health === undefined) answer(response, 404, 'text/plain', 'not found\n');
      else answer(response, health.status, 'application/json', health.body);
    }
  });
  server.maxConnections = connectionsMax;
  server.headersTimeout = secondsMax * 1000;
  server.keepAliveTimeout = secondsMax * 1000;
  const port = await listen(server, endpoint);
  return {
    address: endpointText({ host: endpoint.host, port }),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await closed(server);
    },
  };
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
  response.end(body);
}
