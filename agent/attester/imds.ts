import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { readDerOrPem } from '#core/x509/pem.js';

/** Answers are certificates or one quote. */
const bytesMax = 256 * 1024;
/** The host's quoting service takes seconds when many guests ask at once. */
const deadlineMs = 20_000;

/**
 * Instance metadata service of Azure: a local address that the host answers. Nothing of it is
 * believed: the verifier judges what it certifies.
 */
export class Imds {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /**
   * Certificates of the chip's VCEK and its issuers, DER, VCEK first.
   * @throws CvmpError TPM_UNAVAILABLE
   */
  async vcekChain(): Promise<readonly Uint8Array[]> {
    const { vcekCert, certificateChain } = await this.#ask('/metadata/THIM/amd/certification');
    try {
      return [vcekCert, certificateChain].flatMap((pem) =>
        readDerOrPem(utf8(String(pem)), 'CERTIFICATE', 'certificates'),
      );
    } catch (cause) {
      throw unavailable('gave no certificates', cause);
    }
  }

  /** A quote over a TDREPORT (1024 bytes). @throws CvmpError TPM_UNAVAILABLE */
  async tdQuote(tdReport: Uint8Array): Promise<Uint8Array> {
    const { quote } = await this.#ask('/acc/tdquote', { report: toBase64Url(tdReport) });
    try {
      return fromBase64Url(String(quote).replace(/=+$/, ''));
    } catch (cause) {
      throw unavailable('gave no quote', cause);
    }
  }

  async #ask(path: string, body?: object): Promise<Readonly<Record<string, unknown>>> {
    try {
      const response = await fetch(`${this.#url}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        // The first keeps requests that a browser or proxy was tricked into from being answered.
        headers: { metadata: 'true', 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.timeout(deadlineMs),
      });
      if (!response.ok) throw new Error(`${path} answered ${response.status}`);
      const json: unknown = JSON.parse(fromUtf8(await readBody(response)));
      if (typeof json === 'object' && json !== null) return json as Record<string, unknown>;
      throw new Error(`${path} answered no object`);
    } catch (cause) {
      throw unavailable(`did not answer: ${(cause as Error).message}`, cause);
    }
  }
}

async function readBody({ body }: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > bytesMax) throw new Error(`more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function unavailable(what: string, cause: unknown): CvmpError {
  return new CvmpError('TPM_UNAVAILABLE', `the metadata service ${what}`, {
    cause,
    field: 'tpm.imds_url',
  });
}
