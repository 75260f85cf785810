import { utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { VendorStatement } from '#core/rats/endorsements.js';
import type { Clock } from './clock.js';
import { HttpClient, type HttpOptions } from './http.js';
import { type ServiceLimits, VendorService } from './service.js';
import { chainHeaders, type StatementDocument, urlOf, type VendorUrls } from './statements.js';
import { toDer } from './verify.js';

export interface FetchSettings {
  readonly urls: VendorUrls;
  readonly http: HttpOptions;
  readonly limits: ServiceLimits;
}

/** Gets statements from their vendors; what they give is not looked into. */
export class VendorFetch {
  readonly #settings: FetchSettings;
  readonly #http: HttpClient;
  /** By origin: each is left alone by itself. */
  readonly #services = new Map<string, VendorService>();
  readonly #clock: Clock;
  readonly #random: () => number;

  /** @param random from 0 up to but not including 1 */
  constructor(settings: FetchSettings, clock: Clock, random: () => number) {
    this.#settings = settings;
    this.#http = new HttpClient(settings.http);
    this.#clock = clock;
    this.#random = random;
  }

  /** @throws CvmpError ENDORSEMENT_UNAVAILABLE, ENDORSEMENT_INVALID */
  async fetch(statement: VendorStatement): Promise<StatementDocument> {
    const url = urlOf(statement, this.#settings.urls);
    const { body, header } = await this.#serviceOf(url).get(url, statement.kind === 'amd-vcek');
    const names = chainHeaders[statement.kind];
    const encoded = names.map(header).find((value) => value !== undefined);
    if (names.length > 0 && encoded === undefined) {
      throw new CvmpError('ENDORSEMENT_INVALID', `the answer has no header ${names[0]}`);
    }
    const isList = statement.kind.endsWith('-crl');
    return {
      body: isList ? readList(body) : body,
      chain: encoded === undefined ? undefined : utf8(decoded(encoded)),
    };
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #serviceOf(url: string): VendorService {
    const { origin } = new URL(url);
    const known = this.#services.get(origin);
    if (known !== undefined) return known;
    const service = new VendorService({
      name: origin,
      limits: this.#settings.limits,
      get: (address, signal) => this.#http.get(address, signal),
      clock: this.#clock,
      random: this.#random,
    });
    this.#services.set(origin, service);
    return service;
  }
}

function readList(body: Uint8Array): Uint8Array {
  try {
    return toDer(body);
  } catch (cause) {
    throw new CvmpError('ENDORSEMENT_INVALID', 'the answer is no revocation list', { cause });
  }
}

function decoded(header: string): string {
  try {
    return decodeURIComponent(header);
  } catch (cause) {
    throw new CvmpError('ENDORSEMENT_INVALID', 'the issuer chain is not URL-encoded', { cause });
  }
}
