import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import type { TrustAnchor, VendorStatement } from '#core/rats/endorsements.js';
import { errorFields, logField } from '#server/host/log.js';
import { ages, type EndorsementSource, type Obtained } from '../verifier/source.js';
import { type Clock, within } from './clock.js';
import type { EndorsementFolder } from './folder.js';
import { issuerOf, nameOf, type StatementDocument, statementNamed } from './statements.js';
import { readCertificates, type VerifiedStatement, verifyStatement } from './verify.js';

/** A statement that may be used now. */
export interface HeldStatement extends VerifiedStatement {
  /** When it was got, milliseconds since 1970. */
  readonly obtainedAt: number;
}

/** What is in the folder under a name, judged now. */
export type Holding =
  | { readonly state: 'good'; readonly held: HeldStatement }
  /** Out of date, or got longer ago than the configuration allows. */
  | { readonly state: 'stale'; readonly error: CvmpError }
  /** Damaged, or not what its name says. */
  | { readonly state: 'refused'; readonly error: CvmpError }
  | { readonly state: 'absent' };

/** Lists and collateral in the folder. Times are milliseconds since 1970. */
export interface EndorsementSummary {
  readonly states: Readonly<Record<'good' | 'stale' | 'refused', number>>;
  /** When the oldest good one was got. */
  readonly oldest: number | undefined;
  /** When the first of the good ones ends. */
  readonly ends: number | undefined;
}

export interface KeeperLimits {
  /** What its vendor renews is not used when it was got longer ago. */
  readonly ageMsMax: number;
  /** What its vendor renews is got anew when it was got longer ago, or ends within this time. */
  readonly refreshMs: number;
  /** A renewal that failed is not tried again before. */
  readonly refreshRetryMs: number;
  /** What a vendor does not have is not asked for again before. */
  readonly absentMs: number;
  /** Longest that evidence waits for a vendor. */
  readonly waitMs: number;
}

export interface KeeperParts {
  readonly folder: EndorsementFolder;
  /** Asks a vendor; undefined: nobody is ever asked. @throws CvmpError ENDORSEMENT_* */
  readonly fetch: ((statement: VendorStatement) => Promise<StatementDocument>) | undefined;
  readonly anchors: readonly TrustAnchor[];
  readonly limits: KeeperLimits;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Statements that are kept parsed, beside the files. */
const memoryMax = 1024;
/** Refusals of vendors that are remembered. */
const refusalsMax = 4096;

/**
 * Keeps statements of vendors: from the folder, and, where it may, from the vendors, one request for
 * each statement at a time whoever asks for it. What is out of date is never given out.
 */
export class EndorsementKeeper implements EndorsementSource {
  readonly #parts: KeeperParts;
  readonly #memory = new Map<string, HeldStatement & { readonly stamp: string | undefined }>();
  readonly #underWay = new Map<string, Promise<HeldStatement>>();
  /** Failed requests by name, with the time until which they stand. */
  readonly #refusals = new Map<string, { readonly until: number; readonly error: CvmpError }>();
  #anchors: readonly TrustAnchor[];
  #cancelRefresh = () => {};

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#anchors = parts.anchors;
  }

  /** From now on verifies under these roots, also what it holds. */
  trust(anchors: readonly TrustAnchor[]): void {
    this.#anchors = anchors;
    this.#memory.clear();
    this.#refusals.clear();
  }

  async obtain(statement: VendorStatement): Promise<Obtained> {
    const holding = await this.holding(statement);
    if (holding.state === 'good') {
      const { held } = holding;
      if (this.#isDue(statement, held)) this.fetched(statement).catch(() => {});
      return { outcome: 'held', endorsements: held.endorsements };
    }
    if (this.#parts.fetch === undefined) {
      return holding.state === 'absent' ? { outcome: 'absent' } : failed(holding.error);
    }
    const { clock, limits } = this.#parts;
    const name = nameOf(statement);
    const late = () =>
      failed(new CvmpError('ENDORSEMENT_UNAVAILABLE', `${name} did not come in time`));
    const work = this.fetched(statement).then(
      ({ endorsements }): Obtained => ({ outcome: 'held', endorsements }),
      // What was held and is out of date is not as if there had been none.
      (error) => failed(holding.state === 'stale' ? holding.error : coded(error)),
    );
    return within(clock, limits.waitMs, work, late);
  }

  /** What is in the folder, judged now. */
  async holding(statement: VendorStatement): Promise<Holding> {
    const { folder, clock } = this.#parts;
    const name = nameOf(statement);
    try {
      const stamp = await folder.stamp(name);
      const known = this.#memory.get(name);
      // Also what could not be written: then there is no file, nor was there one.
      if (known !== undefined && known.stamp === stamp) return this.#judge(statement, known);
      const document = stamp === undefined ? undefined : await folder.read(name);
      if (document === undefined) return { state: 'absent' };
      const verified = await this.#verify(statement, document, false);
      const held = { ...verified, obtainedAt: Math.min(document.obtainedAt, clock.now()) };
      this.#remember(name, { ...held, stamp });
      return this.#judge(statement, held);
    } catch (cause) {
      const error = coded(cause);
      const isStale = error.code === 'COLLATERAL_STALE' || error.code === 'CERT_EXPIRED';
      if (!isStale) this.#parts.log.warn(fields(name, error), 'endorsement file refused');
      if (isStale) return { state: 'stale', error: named(name, error) };
      const message = `${name}: ${error.message}`;
      return {
        state: 'refused',
        error: new CvmpError('ENDORSEMENT_INVALID', message, { cause: error }),
      };
    }
  }

  /** Asks the vendor, and keeps what it gives. @throws CvmpError ENDORSEMENT_* */
  fetched(statement: VendorStatement): Promise<HeldStatement> {
    const name = nameOf(statement);
    const underWay = this.#underWay.get(name);
    if (underWay !== undefined) return underWay;
    const work = this.#fetch(statement, name).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, work);
    return work;
  }

  /**
   * Verifies a document and puts it into the folder.
   * @throws CvmpError ENDORSEMENT_INVALID with what is wrong as its cause, ENDORSEMENT_UNAVAILABLE
   */
  async keep(statement: VendorStatement, document: StatementDocument): Promise<HeldStatement> {
    const { folder, clock, log } = this.#parts;
    const name = nameOf(statement);
    const verified = await this.#verify(statement, document, true).catch((cause) => {
      const error = coded(cause);
      if (error.code === 'ENDORSEMENT_UNAVAILABLE') throw error;
      throw new CvmpError('ENDORSEMENT_INVALID', `${name}: ${error.message}`, { cause });
    });
    const before = ages(statement) ? await this.holding(statement) : undefined;
    if (before?.state === 'good' && before.held.issuedAt > verified.issuedAt) {
      throw new CvmpError('ENDORSEMENT_INVALID', `${name} is older than the one that is held`);
    }
    const held = { ...verified, obtainedAt: clock.now() };
    await folder.write(name, document, held.obtainedAt).catch((error) => {
      log.error({ [logField.endorsement]: name, ...errorFields(error) }, 'endorsement not written');
    });
    this.#remember(name, { ...held, stamp: await folder.stamp(name) });
    return held;
  }

  /** Renews from now on, before it goes out of date, what is in the folder. */
  startRefresh(everyMs: number): void {
    const round = () => {
      this.refresh()
        .catch((error) => this.#parts.log.error(errorFields(error), 'endorsements not renewed'))
        .finally(() => {
          this.#cancelRefresh = this.#parts.clock.after(everyMs, round);
        });
    };
    this.#cancelRefresh = this.#parts.clock.after(0, round);
  }

  stopRefresh(): void {
    this.#cancelRefresh();
    this.#cancelRefresh = () => {};
  }

  /** How what vendors renew is now; chips' own certificates are too many to look at. */
  async summary(): Promise<EndorsementSummary> {
    const states = { good: 0, stale: 0, refused: 0 };
    const times: { obtainedAt: number; validUntil: number }[] = [];
    for (const { name } of await this.#parts.folder.list()) {
      const statement = statementNamed(name);
      if (statement === undefined || !ages(statement)) continue;
      const holding = await this.holding(statement);
      if (holding.state !== 'absent') states[holding.state] += 1;
      if (holding.state === 'good') times.push(holding.held);
    }
    if (times.length === 0) return { states, oldest: undefined, ends: undefined };
    const oldest = Math.min(...times.map(({ obtainedAt }) => obtainedAt));
    return { states, oldest, ends: Math.min(...times.map(({ validUntil }) => validUntil)) };
  }

  /** Renews what is due, one after the other. */
  async refresh(): Promise<void> {
    for (const { name } of await this.#parts.folder.list()) {
      const statement = statementNamed(name);
      if (statement === undefined || !ages(statement)) continue;
      const holding = await this.holding(statement);
      const held = holding.state === 'good' ? holding.held : { obtainedAt: 0, validUntil: 0 };
      if (this.#isDue(statement, held)) await this.fetched(statement).catch(() => {});
    }
  }

  #isDue(
    statement: VendorStatement,
    { obtainedAt, validUntil }: Pick<HeldStatement, 'obtainedAt' | 'validUntil'>,
  ): boolean {
    const { fetch, limits, clock } = this.#parts;
    if (fetch === undefined || !ages(statement)) return false;
    const now = clock.now();
    if ((this.#refusals.get(nameOf(statement))?.until ?? 0) > now) return false;
    if (now - obtainedAt > limits.refreshMs) return true;
    // A vendor that has nothing newer yet is not asked all the time.
    return validUntil - now < limits.refreshMs && now - obtainedAt > limits.refreshRetryMs;
  }

  async #fetch(statement: VendorStatement, name: string): Promise<HeldStatement> {
    const { fetch, limits, clock, log } = this.#parts;
    const refusal = this.#refusals.get(name);
    if (refusal !== undefined && refusal.until > clock.now()) throw refusal.error;
    try {
      if (fetch === undefined) throw new CvmpError('ENDORSEMENT_UNAVAILABLE', 'nobody is asked');
      const held = await this.keep(statement, await fetch(statement));
      this.#refusals.delete(name);
      log.info({ [logField.endorsement]: name }, 'endorsement fetched');
      return held;
    } catch (cause) {
      const error = named(name, coded(cause));
      // What was wrong once is wrong for a while; what could not be reached is for its service to say.
      const isAbsent = error.field === 'absent' || error.code === 'ENDORSEMENT_INVALID';
      const pause = isAbsent ? limits.absentMs : 0;
      if (pause > 0) this.#refuse(name, { until: clock.now() + pause, error });
      log.warn(fields(name, error), 'endorsement not fetched');
      throw error;
    }
  }

  /** @param isNew what is new needs the certificates of who signed it */
  async #verify(
    statement: VendorStatement,
    document: StatementDocument,
    isNew: boolean,
  ): Promise<VerifiedStatement> {
    const { clock, fetch } = this.#parts;
    const anchors = this.#anchors;
    const issuer = document.chain === undefined ? issuerOf(statement) : undefined;
    const context = { anchors, at: clock.now(), issuers: [] };
    if (issuer === undefined) return verifyStatement(statement, document, context);
    const holding = await this.holding(issuer);
    let held = holding.state === 'good' ? holding.held : undefined;
    if (held === undefined && isNew && fetch !== undefined) held = await this.fetched(issuer);
    if (held === undefined && isNew) {
      throw new CvmpError('ENDORSEMENT_INVALID', `${nameOf(issuer)} is needed to verify it`);
    }
    const issuers = readCertificates(held?.endorsements.certificates ?? []);
    return verifyStatement(statement, document, { ...context, issuers });
  }

  #judge(statement: VendorStatement, held: HeldStatement): Holding {
    const { clock, limits } = this.#parts;
    const now = clock.now();
    const stale = (why: string): Holding => {
      const message = `${nameOf(statement)} ${why}`;
      return { state: 'stale', error: new CvmpError('COLLATERAL_STALE', message) };
    };
    if (now > held.validUntil) return stale(`ended at ${new Date(held.validUntil).toISOString()}`);
    if (now < held.issuedAt) return stale(`starts at ${new Date(held.issuedAt).toISOString()}`);
    if (ages(statement) && now - held.obtainedAt > limits.ageMsMax) {
      return stale(`was got at ${new Date(held.obtainedAt).toISOString()}, which is too long ago`);
    }
    return { state: 'good', held };
  }

  #remember(name: string, held: HeldStatement & { readonly stamp: string | undefined }): void {
    bounded(this.#memory, name, held, memoryMax);
  }

  #refuse(name: string, refusal: { readonly until: number; readonly error: CvmpError }): void {
    bounded(this.#refusals, name, refusal, refusalsMax);
  }
}

/** Last in, last out. */
function bounded<T>(map: Map<string, T>, name: string, value: T, max: number): void {
  map.delete(name);
  map.set(name, value);
  for (const oldest of map.keys()) {
    if (map.size <= max) break;
    map.delete(oldest);
  }
}

function failed(error: CvmpError): Obtained {
  return { outcome: 'failed', error };
}

/** A fault of ours is not blamed on a vendor. */
function coded(error: unknown): CvmpError {
  if (error instanceof CvmpError) return error;
  throw error;
}

function named(name: string, error: CvmpError): CvmpError {
  if (error.message.startsWith(name)) return error;
  const { code, field } = error;
  const rest = field === undefined ? { cause: error } : { cause: error, field };
  return new CvmpError(code, `${name}: ${error.message}`, rest);
}

function fields(name: string, error: CvmpError): Record<string, string> {
  return { [logField.endorsement]: name, ...errorFields(error) };
}
