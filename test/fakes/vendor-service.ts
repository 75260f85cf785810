import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** What one request is answered with. */
export interface FakeAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Says that there is more than is sent, and ends the connection. */
  readonly truncated?: boolean;
  /** Sends nothing at all. */
  readonly silent?: boolean;
}

/**
 * A service of a vendor on loopback: answers by path and query, keeps all requests. Its routes are
 * the vendor's own.
 */
export class FakeVendorService {
  readonly url: string;
  /** Path and query of each request, in order. */
  readonly requests: string[] = [];
  readonly #routes = new Map<string, FakeAnswer | (() => FakeAnswer)>();
  #arrived: (() => void)[] = [];

  private constructor(url: string) {
    this.url = url;
  }

  static async start(): Promise<FakeVendorService> {
    let fake: FakeVendorService | undefined;
    const server = createServer((request, response) => {
      fake?.answer(request.url ?? '', response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    fake = new FakeVendorService(`http://127.0.0.1:${port}`);
    return fake;
  }

  /** @param path path and query, in the vendor's own order of parameters */
  route(path: string, answer: FakeAnswer | (() => FakeAnswer)): void {
    this.#routes.set(path, answer);
  }

  /** Resolves when this many requests have come. */
  async arrived(count: number): Promise<void> {
    while (this.requests.length < count) {
      await new Promise<void>((resolve) => this.#arrived.push(resolve));
    }
  }

  answer(path: string, response: ServerResponse): void {
    this.requests.push(path);
    const route = this.#routes.get(path) ?? { status: 404, body: 'not found' };
    const {
      status = 200,
      headers = {},
      body = '',
      ...how
    } = typeof route === 'function' ? route() : route;
    if (how.silent !== true) {
      const bytes = Buffer.from(body as Uint8Array);
      const length = how.truncated === true ? bytes.length + 100 : bytes.length;
      response.writeHead(status, { ...headers, 'content-length': length });
      if (how.truncated === true) response.write(bytes, () => response.destroy());
      else response.end(bytes);
    }
    for (const arrived of this.#arrived.splice(0)) arrived();
  }
}
