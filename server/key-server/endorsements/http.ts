import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import { CvmpError } from '#core/errors.js';

/** An answer over HTTP, whole. */
export interface Answer {
  readonly status: number;
  /** Value of a header by its lower-case name. */
  readonly header: (name: string) => string | undefined;
  readonly body: Uint8Array;
}

export interface HttpOptions {
  /** HTTP proxy that is asked to CONNECT. */
  readonly proxyUrl: string | undefined;
  /** CA certificates (PEM) in place of the system's, for a cache of one's own. */
  readonly ca: string | undefined;
  readonly answerBytesMax: number;
}

/** Connections to one service at once. */
const connectionsMax = 4;
/** Room for the issuer chains of Intel, which come in headers. */
const headerBytesMax = 64 * 1024;

/** Asks vendors. Redirects are not followed: a service is where the configuration says. */
export class HttpClient {
  readonly #dispatcher: Dispatcher;
  readonly #answerBytesMax: number;

  constructor({ proxyUrl, ca, answerBytesMax }: HttpOptions) {
    this.#answerBytesMax = answerBytesMax;
    const tls = ca === undefined ? {} : { ca };
    const options = { connections: connectionsMax, maxHeaderSize: headerBytesMax };
    this.#dispatcher =
      proxyUrl === undefined
        ? new Agent({ ...options, connect: tls })
        : new ProxyAgent({ ...options, uri: proxyUrl, requestTls: tls });
  }

  /** @throws CvmpError ENDORSEMENT_UNAVAILABLE, ENDORSEMENT_INVALID (too large, compressed) */
  async get(url: string, signal: AbortSignal): Promise<Answer> {
    const { origin, pathname, search } = new URL(url);
    try {
      const { statusCode, headers, body } = await this.#dispatcher.request({
        origin,
        path: `${pathname}${search}`,
        method: 'GET',
        headers: { accept: '*/*', 'accept-encoding': 'identity' },
        signal,
      });
      const header = (name: string) => [headers[name]].flat()[0];
      const answer = { status: statusCode, header, body: await this.#read(body) };
      if ((header('content-encoding') ?? 'identity') === 'identity') return answer;
      throw new CvmpError('ENDORSEMENT_INVALID', 'the answer is compressed unasked');
    } catch (cause) {
      if (cause instanceof CvmpError) throw cause;
      const why = signal.aborted ? 'it did not answer in time' : (cause as Error).message;
      throw new CvmpError('ENDORSEMENT_UNAVAILABLE', `${origin}: ${why}`, { cause });
    }
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #read(body: AsyncIterable<Buffer>): Promise<Uint8Array> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of body) {
      length += chunk.length;
      if (length > this.#answerBytesMax) {
        const message = `the answer is longer than ${this.#answerBytesMax} bytes`;
        throw new CvmpError('ENDORSEMENT_INVALID', message);
      }
      chunks.push(chunk);
    }
    return new Uint8Array(Buffer.concat(chunks));
  }
}
