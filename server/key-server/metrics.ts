import type { ErrorCode } from '#core/errors.js';
import type { Counter, Histogram, Metrics } from '#server/host/observe/metrics.js';
import type { Observation } from '#server/host/observe/observation.js';
import type { Tracer } from '#server/host/observe/trace.js';
import type { EndorsementSummary } from './endorsements/keeper.js';
import type { AuditEvent } from './release/contract.js';
import type { JournalObserver } from './store/journal.js';

/** Records of one batch of the journal. */
const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/** What a Key Server counts beside what every server does. Labels are codes and names of methods. */
export class KeyServerMetrics implements JournalObserver<AuditEvent> {
  readonly #requests: (operation: string, code: string) => Counter;
  readonly #requestSeconds: (operation: string) => Histogram;
  readonly #attestations: (format: string, code: string) => Counter;
  readonly #attestationSeconds: (format: string) => Histogram;
  readonly #decisions: (operation: string, code: string) => Counter;
  readonly #commits: Counter;
  readonly #commitRecords: Histogram;
  readonly #commitSeconds: Histogram;
  readonly #tracer: Tracer | undefined;
  // What lies on the way of every key is found by one look.
  readonly #served = new Map<string, { readonly count: Counter; readonly seconds: Histogram }>();
  readonly #granted = new Map<string, Counter>();
  #sessions = 0;
  /** The newest checkpoint of the log; undefined before the store is open. */
  checkpoint: { readonly size: number; readonly time: number } | undefined;
  endorsements: EndorsementSummary | undefined;

  constructor({ metrics, readiness, tracer }: Observation) {
    this.#tracer = tracer;
    this.#requests = metrics.counters(
      'cvmp_key_requests_total',
      'Requests of attested agents, by kind and code.',
      ['operation', 'code'],
    );
    this.#requestSeconds = metrics.histograms(
      'cvmp_key_request_seconds',
      'From a request of an attested agent to its answer.',
      ['operation'],
    );
    this.#attestations = metrics.counters(
      'cvmp_attestations_total',
      'Appraisals of evidence, by its first format and code.',
      ['format', 'code'],
    );
    this.#attestationSeconds = metrics.histograms(
      'cvmp_attestation_seconds',
      'From evidence to the recorded decision; includes waiting for vendors and agents.',
      ['format'],
    );
    this.#decisions = metrics.counters(
      'cvmp_decisions_total',
      'Decisions in the log, by operation and code; OK: granted.',
      ['operation', 'code'],
    );
    this.#commits = metrics.counter('cvmp_store_commits_total', 'Batches made durable.');
    this.#commitRecords = metrics.histogram(
      'cvmp_store_commit_operations',
      'Operations that shared a batch.',
      batchBuckets,
    );
    this.#commitSeconds = metrics.histogram(
      'cvmp_store_commit_seconds',
      'From a batch to its fsync.',
    );
    const open = () => this.#sessions;
    metrics.gauge('cvmp_sessions', 'Session streams that are open.', open);
    const holds = (code: string) => (readiness.reasons.some((reason) => reason === code) ? 1 : 0);
    metrics.gauge('cvmp_sealed', '1: waits for its master key.', () => holds('SEALED'));
    metrics.gauge('cvmp_rolled_back', '1: was shown a checkpoint from its future.', () =>
      holds('SERVER_ROLLBACK'),
    );
    metrics.gauge('cvmp_store_failed', '1: could not write; must be started again.', () =>
      holds('STORE_WRITE'),
    );
    this.#declareFollowed(metrics);
  }

  #declareFollowed(metrics: Metrics): void {
    const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1000);
    metrics.gauge('cvmp_log_records', 'Records of the log of decisions.', () => {
      return this.checkpoint?.size;
    });
    metrics.gauge(
      'cvmp_log_checkpoint_timestamp_seconds',
      'When the newest checkpoint was signed.',
      () => seconds(this.checkpoint?.time),
    );
    metrics.gauges(
      'cvmp_endorsements',
      'Revocation lists and collateral in the folder, by how they are.',
      ['state'],
      () => Object.entries(this.endorsements?.states ?? {}).map(([state, n]) => [[state], n]),
    );
    metrics.gauge(
      'cvmp_endorsements_oldest_timestamp_seconds',
      'When the oldest good one of them was got.',
      () => seconds(this.endorsements?.oldest),
    );
    metrics.gauge(
      'cvmp_endorsements_expiry_timestamp_seconds',
      'When the first good one of them ends.',
      () => seconds(this.endorsements?.ends),
    );
  }

  /** @returns to be called when the stream has ended */
  sessionOpened(): () => void {
    this.#sessions += 1;
    return () => {
      this.#sessions -= 1;
    };
  }

  #decided(operation: string, code: ErrorCode | undefined): void {
    const count = this.#decisions(operation, code ?? 'OK');
    if (code === undefined) this.#granted.set(operation, count);
    count.add();
  }

  /** A request on an attested stream was answered. */
  request(operation: string | undefined, code: ErrorCode | 'OK', seconds: number): void {
    const name = operation ?? 'none';
    const served = this.#served.get(name) ?? this.#remember(name);
    served.seconds.observe(seconds);
    if (code === 'OK') served.count.add();
    else this.#requests(name, code).add();
  }

  #remember(name: string): { readonly count: Counter; readonly seconds: Histogram } {
    const served = { count: this.#requests(name, 'OK'), seconds: this.#requestSeconds(name) };
    this.#served.set(name, served);
    return served;
  }

  /** @param format of the evidence; undefined where it could not be told */
  attested(format: string | undefined, code: ErrorCode | 'OK', seconds: number): void {
    const name = format ?? 'unknown';
    this.#attestations(name, code).add();
    this.#attestationSeconds(name).observe(seconds);
  }

  committed(operations: number, events: readonly AuditEvent[], seconds: number): void {
    this.#commits.add();
    this.#commitRecords.observe(operations);
    this.#commitSeconds.observe(seconds);
    this.#tracer?.past('store.commit', seconds, { 'cvmp.operations': operations });
    for (const { operation, code } of events) {
      const granted = code === undefined ? this.#granted.get(operation) : undefined;
      if (granted !== undefined) granted.add();
      else this.#decided(operation, code);
    }
  }
}
