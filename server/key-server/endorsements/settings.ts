import { CvmpError } from '#core/errors.js';
import type { ConfigReader } from '#server/host/config/reader.js';
import type { Revocation } from '../verifier/source.js';
import type { ServiceLimits } from './service.js';
import type { VendorUrls } from './statements.js';

/** Where certificates, revocation lists and collateral of vendors come from. */
export interface EndorsementSettings {
  /** offline: from the folder alone, no connection is made. */
  readonly mode: 'offline' | 'fetch';
  readonly folder: string;
  readonly revocation: Revocation;
  readonly ageDaysMax: number;
  readonly folderMibMax: number;
  /** How vendors are asked: by the server in mode fetch, by `endorsements fetch` in any. */
  readonly fetch: {
    readonly urls: VendorUrls;
    readonly proxyUrl: string | undefined;
    readonly caFile: string | undefined;
    readonly answerKibMax: number;
    readonly waitMs: number;
    readonly refreshHours: number;
    readonly refreshRetryMinutes: number;
    readonly absentMinutes: number;
    readonly limits: ServiceLimits;
  };
}

/** @throws CvmpError CONFIG */
export function readEndorsementSettings(config: ConfigReader): EndorsementSettings {
  const mode = config.choice('mode', ['offline', 'fetch'], {
    default: 'offline',
    why: 'a Key Server connects to nobody that you did not name; fill the folder by hand',
  });
  return {
    mode,
    folder: config.path('folder', { default: 'endorsements', why: 'beside this file' }),
    revocation: config.choice('revocation', ['required', 'when_held'], {
      default: mode === 'fetch' ? 'required' : 'when_held',
      why:
        mode === 'fetch'
          ? "AMD's revocation lists can be had"
          : "AMD's revocation lists count once the folder holds them; say required then",
    }),
    ageDaysMax: config.integer('age_days_max', {
      min: 1,
      max: 3650,
      default: 30,
      why: "as long as Intel's collateral lives; AMD's lists live a year",
    }),
    folderMibMax: config.integer('folder_mib_max', {
      min: 1,
      max: 10_240,
      default: 64,
      why: 'certificates of some 30,000 chips',
    }),
    fetch: config.section('fetch', readFetch),
  };
}

function readFetch(fetch: ConfigReader): EndorsementSettings['fetch'] {
  return {
    urls: readUrls(fetch),
    proxyUrl: optionalUrl(fetch, 'proxy_url', 'connections go straight to the services'),
    caFile: fetch.optionalPath('ca_file', 'the CAs that Node trusts'),
    answerKibMax: fetch.integer('answer_kib_max', {
      min: 16,
      max: 16_384,
      default: 1024,
      why: 'the largest TCB Info has 60 kB',
    }),
    waitMs: fetch.integer('wait_ms', {
      min: 100,
      max: 60_000,
      default: 5000,
      why: 'longest that one attestation waits; the request goes on for the next one',
    }),
    refreshHours: fetch.integer('refresh_hours', {
      min: 1,
      max: 720,
      default: 24,
      why: 'lists and collateral are renewed when they are older, or end within it',
    }),
    refreshRetryMinutes: fetch.integer('refresh_retry_minutes', {
      min: 1,
      max: 1440,
      default: 30,
      why: 'many tries before anything goes out of date',
    }),
    absentMinutes: fetch.integer('absent_minutes', {
      min: 1,
      max: 1440,
      default: 10,
      why: 'what a vendor does not have it will not have at once',
    }),
    limits: readServiceLimits(fetch),
  };
}

function readUrls(fetch: ConfigReader): VendorUrls {
  return {
    kds: url(fetch, 'kds_url', 'https://kdsintf.amd.com', "AMD's Key Distribution Service"),
    pcs: url(
      fetch,
      'pcs_url',
      'https://api.trustedservices.intel.com',
      "Intel's Provisioning Certification Service; a PCCS speaks the same",
    ),
    rootCrl: url(
      fetch,
      'root_crl_url',
      'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der',
      'where Intel publishes it; of a PCCS /sgx/certification/v4/rootcacrl',
    ),
    tcbUpdate: fetch.choice('tcb_update', ['standard', 'early'], {
      default: 'standard',
      why: 'providers have had time to update',
    }),
    tcbEvaluationDataNumber: fetch.integer('tcb_evaluation_data_number', {
      min: 0,
      max: 0xffff,
      default: 0,
      why: 'the newest that tcb_update admits',
    }),
  };
}

function readServiceLimits(fetch: ConfigReader): ServiceLimits {
  return {
    requestTimeoutMs: fetch.integer('request_timeout_ms', {
      min: 100,
      max: 120_000,
      default: 10_000,
      why: 'the services answer within a second, or not at all',
    }),
    attemptsMax: fetch.integer('attempts_max', {
      min: 1,
      max: 10,
      default: 3,
      why: 'what two repetitions do not cure takes longer',
    }),
    backoffMs: fetch.integer('backoff_ms', {
      min: 10,
      max: 60_000,
      default: 1000,
      why: 'then double, by chance a half of it',
    }),
    retryAfterSecondsMax: fetch.integer('retry_after_seconds_max', {
      min: 1,
      max: 86_400,
      default: 600,
      why: 'a service that says 429 is left alone as long as it says, up to this',
    }),
    circuitFailures: fetch.integer('circuit_failures', {
      min: 1,
      max: 1000,
      default: 5,
      why: 'as many failures in a row are no accident',
    }),
    circuitOpenSeconds: fetch.integer('circuit_open_seconds', {
      min: 1,
      max: 3600,
      default: 30,
      why: 'meanwhile nobody waits for a service that is away',
    }),
    requestsPerMinuteMax: fetch.integer('requests_per_minute_max', {
      min: 1,
      max: 6000,
      default: 20,
      why: 'of each service; AMD gives about one certificate in ten seconds',
    }),
  };
}

/** @throws CvmpError CONFIG unless it is HTTPS, or HTTP on this machine */
function url(fetch: ConfigReader, key: string, value: string, why: string): string {
  const text = fetch.text(key, { default: value, why });
  return checkedUrl(text, fetch.name(key)).replace(/\/$/, '');
}

function optionalUrl(fetch: ConfigReader, key: string, why: string): string | undefined {
  const text = fetch.text(key, { default: '', why });
  return text === '' ? undefined : checkedUrl(text, fetch.name(key), ['http:', 'https:']);
}

function checkedUrl(text: string, field: string, anywhere: readonly string[] = ['https:']): string {
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(parsed?.hostname ?? '');
  const isRight =
    parsed !== undefined &&
    (anywhere.includes(parsed.protocol) || (parsed.protocol === 'http:' && isLocal)) &&
    parsed.search === '' &&
    parsed.hash === '' &&
    parsed.username === '';
  if (isRight) return text;
  throw new CvmpError('CONFIG', `${field} is no https URL without query and user`, { field });
}
