import { fromBinary } from '@bufbuild/protobuf';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { ServerSession } from '#core/session/server.js';
import {
  type AgentMessage,
  AgentMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
  type SessionRequest,
  type SessionRequestSchema,
  type SessionResponse,
  type SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import type { CallContext, StreamReceiver, StreamSender } from '#server/host/handlers.js';
import { errorFields } from '#server/host/log.js';
import { sessionCodec } from '#wire/session.js';
import { readMessage, writeMessage } from '#wire/validate.js';
import type { RollbackGuard } from '../log/rollback.js';
import type { KeyServerMetrics } from '../metrics.js';
import type { NoticeBoard } from '../notices.js';
import type { Keys, SessionGrant, Told } from '../release/contract.js';
import { demandRoom, type Quotas } from '../tenants/quotas.js';
import type { Verifier } from '../verifier/attest.js';
import { type Accepted, Handshake } from './handshake.js';
import {
  answerRequest,
  checkpointOf,
  errorMessage,
  grantMessage,
  namedKey,
  noticeMessage,
} from './requests.js';
import { ToldSession } from './told.js';

/** Every limit is finite. */
export interface SessionLimits {
  /** From ClientInit to the acceptance of the evidence; for the first one, from the opening on. */
  readonly handshakeSeconds: number;
  readonly challengeSeconds: number;
  /** An attested stream is ended this long after its lease and its last request. */
  readonly idleSeconds: number;
  /** Requests that may be in flight at once on one stream. */
  readonly inFlightMax: number;
  /** Streams at once. */
  readonly sessionsMax: number;
  /** Handshakes on one stream, the first one included. */
  readonly attestationsPerHourMax: number;
}

export interface SessionParts {
  readonly identity: EcPrivateKey;
  readonly verifier: Verifier;
  readonly keys: Keys;
  readonly notices: NoticeBoard;
  /** Absent: a tenant may have all sessions that there are. */
  readonly quotas?: Pick<Quotas, 'sessions'>;
  readonly limits: SessionLimits;
  readonly guard: Pick<RollbackGuard, 'continueFrom'>;
  readonly metrics?: KeyServerMetrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

type FrameCase = 'challenge' | 'credential' | 'accept' | 'sealed';

const hour = 3_600_000;
/** A timer counts no further than this (24.8 days). */
const timerMax = 2 ** 31 - 1;

/** A session that is open, and what its evidence granted. */
interface OpenSession {
  readonly session: ServerSession;
  readonly grant: SessionGrant;
  readonly told: ToldSession;
}

/**
 * One Session stream: attest, then many pipelined requests, answered as they are done; attest again,
 * as often as need be (protocol.md s.6.5). What it knows dies with the stream.
 */
export class SessionStream implements StreamReceiver<typeof SessionRequestSchema> {
  readonly #parts: SessionParts;
  readonly #sender: StreamSender<typeof SessionResponseSchema>;
  readonly #context: CallContext;
  readonly #ended: () => void;
  #handshake: Handshake | undefined;
  #open: OpenSession | undefined;
  #unregister = () => {};
  #inFlight = 0;
  #halfClosed = false;
  /** Why the stream ends as soon as all requests are answered. */
  #failure: unknown;
  #timer: NodeJS.Timeout | undefined;
  #handshakeTimer: NodeJS.Timeout | undefined;
  #attestations = { since: 0, count: 0 };
  #closed = false;

  constructor(
    parts: SessionParts,
    sender: StreamSender<typeof SessionResponseSchema>,
    context: CallContext,
    ended: () => void,
  ) {
    this.#parts = parts;
    this.#sender = sender;
    this.#context = context;
    this.#ended = ended;
    const first = new ServerSession({
      codec: sessionCodec,
      identity: parts.identity,
      exportKeyingMaterial: context.exportKeyingMaterial ?? noConnection,
      evidenceProfiles: parts.verifier.profiles,
      challengeSeconds: parts.limits.challengeSeconds,
      continueFrom: (shown) => parts.guard.continueFrom(shown),
    });
    this.#handshake = this.#newHandshake(first);
  }

  message({ frame }: SessionRequest): void {
    switch (frame.case) {
      case 'clientInit':
        this.#run(this.#clientInit(frame.value));
        break;
      case 'evidence':
        this.#run(this.#evidence(frame.value));
        break;
      case 'activation':
        this.#attesting().activation(frame.value);
        break;
      case 'sealed':
        this.#request(frame.value);
        break;
      default:
        // The oneof is required, and was read strictly.
        throw new TypeError('a frame without content');
    }
  }

  halfClosed(): void {
    this.#halfClosed = true;
    this.#endWhenDone();
  }

  /** What is in flight is answered; what comes now is refused, to be tried again elsewhere. */
  draining(error: CvmpError): void {
    if (!this.#halfClosed) this.#failure ??= error;
    this.#open?.told.tell({ kind: 'shutting-down' });
    this.#endWhenDone();
  }

  drained(): void {
    this.#open?.told.release();
    this.#sender.resume();
  }

  closed(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#handshakeTimer);
    this.#unregister();
    this.#handshake?.cancel();
    this.#open?.session.close();
    this.#open = undefined;
    this.#ended();
  }

  /** Begins a handshake: the first one, or one more beside the session that is open. */
  async #clientInit(bytes: Uint8Array): Promise<void> {
    this.#countAttestation();
    if (this.#handshake === undefined && this.#open !== undefined) {
      this.#handshake = this.#newHandshake(this.#open.session.again());
    }
    await this.#attesting().clientInit(bytes);
  }

  #newHandshake(session: ServerSession): Handshake {
    const { verifier, now, limits } = this.#parts;
    this.#handshakeTimer = this.#endAfter(limits.handshakeSeconds, 'the handshake took too long');
    return new Handshake(session, {
      verifier,
      now,
      context: this.#context,
      send: (kind, value) => this.#send(kind, value),
      before: this.#open?.grant,
    });
  }

  async #evidence(bytes: Uint8Array): Promise<void> {
    const accepted = await this.#attesting().evidence(bytes);
    if (this.#closed) accepted.session.close();
    else {
      if (this.#open === undefined) this.#demandRoom(accepted.attested.grant);
      this.#accept(accepted);
    }
  }

  /** @throws CvmpError QUOTA */
  #demandRoom({ tenantId }: SessionGrant): void {
    const { notices, quotas } = this.#parts;
    if (quotas === undefined) return;
    demandRoom(notices.count(tenantId) + 1, quotas.sessions(tenantId), 'sessions');
  }

  /**
   * From the accept frame on, everything is sealed by the new keys, answers to earlier requests
   * included; the agent has sealed nothing since its evidence.
   */
  #accept({ session, accept, attested }: Accepted): void {
    const { grant } = attested;
    clearTimeout(this.#handshakeTimer);
    this.#handshake = undefined;
    this.#send('accept', accept);
    this.#open?.session.close();
    const told = this.#open?.told ?? this.#register(grant);
    told.grant = grant;
    this.#open = { session, grant, told };
    this.#answer(grantMessage(attested, this.#parts.limits.inFlightMax), attested);
    this.#waitForRequests();
  }

  /** From here on the session is told what happens to its policy and keys. */
  #register(grant: SessionGrant): ToldSession {
    const told = new ToldSession(grant, (notice) => this.#answer(noticeMessage(notice)));
    this.#unregister = this.#parts.notices.register(told);
    return told;
  }

  /** Opens in the order of arrival; answers come in the order in which they are ready. */
  #request(sealed: Uint8Array): void {
    const open = this.#open;
    if (open === undefined || this.#handshake?.attesting) {
      throw new CvmpError('PROTOCOL_ORDER', 'a sealed frame before the evidence is judged');
    }
    const message = this.#read(open.session.open(sealed));
    if (message === undefined) return;
    if (this.#failure !== undefined) {
      this.#answer(errorMessage(message.requestId, codedError(this.#failure)));
      return;
    }
    if (this.#inFlight >= this.#parts.limits.inFlightMax) {
      const most = this.#parts.limits.inFlightMax;
      const error = new CvmpError('IN_FLIGHT', `more than ${most} requests are in flight`);
      this.#answer(errorMessage(message.requestId, error));
      return;
    }
    this.#inFlight += 1;
    clearTimeout(this.#timer);
    this.#run(this.#decide(open, message));
  }

  /** A request that breaks a rule is answered where it says who it is; otherwise the stream ends. */
  #read(plaintext: Uint8Array): AgentMessage | undefined {
    try {
      return readMessage(AgentMessageSchema, plaintext);
    } catch (error) {
      const requestId = requestIdOf(plaintext);
      if (!(error instanceof CvmpError) || requestId === undefined) throw error;
      this.#answer(errorMessage(requestId, error));
      return undefined;
    }
  }

  async #decide({ grant, told }: OpenSession, message: AgentMessage): Promise<void> {
    const started = performance.now();
    const span = this.#context.span?.child(message.request.case ?? 'none');
    let code: ErrorCode | 'OK' = 'OK';
    const decided: Told = {};
    try {
      told.uses(namedKey(message));
      const answer = await answerRequest(this.#parts.keys, grant, message, decided);
      if (answer.keyId !== undefined) told.uses(answer.keyId);
      this.#answer(answer.message, decided);
      answer.securityKey?.fill(0);
    } catch (error) {
      if (!(error instanceof CvmpError)) {
        this.#context.log.error(errorFields(error), 'request failed');
      }
      const coded = codedError(error);
      code = coded?.code ?? 'INTERNAL';
      this.#answer(errorMessage(message.requestId, coded), decided);
    } finally {
      const seconds = (performance.now() - started) / 1000;
      this.#parts.metrics?.request(message.request.case, code, seconds);
      span?.end(code);
      this.#inFlight -= 1;
      this.#waitForRequests();
      this.#endWhenDone();
    }
  }

  /** Whatever goes wrong outside of a request ends the stream, once requests are answered. */
  #run(work: Promise<void>): void {
    work.catch((error) => {
      this.#failure ??= error;
      this.#endWhenDone();
    });
  }

  /** @throws CvmpError PROTOCOL_ORDER */
  #attesting(): Handshake {
    if (this.#handshake !== undefined) return this.#handshake;
    throw new CvmpError('PROTOCOL_ORDER', 'no handshake was begun');
  }

  /** Stops an agent from making the server verify evidence without end. @throws CvmpError RATE */
  #countAttestation(): void {
    const now = this.#parts.now();
    const most = this.#parts.limits.attestationsPerHourMax;
    const { since, count } = this.#attestations;
    const isOver = now - since >= hour || now < since;
    this.#attestations = isOver ? { since: now, count: 1 } : { since, count: count + 1 };
    if (this.#attestations.count <= most) return;
    throw new CvmpError('RATE', `more than ${most} attestations in an hour on one stream`);
  }

  #answer(message: ServerMessage, decided: Told = {}): void {
    if (this.#closed || this.#open === undefined) return;
    message.checkpoint = checkpointOf(decided);
    const plaintext = writeMessage(ServerMessageSchema, message);
    this.#send('sealed', this.#open.session.seal(plaintext));
    plaintext.fill(0);
  }

  #send(kind: FrameCase, value: Uint8Array): void {
    if (this.#closed) return;
    // Without the library's create, which costs as much as the encoding on this path (measured).
    const message: SessionResponse = {
      $typeName: 'cvmp.v1.SessionResponse',
      frame: { case: kind, value },
    };
    // An agent that does not read its answers is not read either.
    if (this.#sender.send(message)) return;
    this.#open?.told.hold();
    this.#sender.pause();
  }

  /** An agent that holds its lease is left alone: it waits for notices. */
  #waitForRequests(): void {
    if (this.#inFlight > 0 || this.#closed || this.#open === undefined) return;
    clearTimeout(this.#timer);
    const { limits, now } = this.#parts;
    const leaseSeconds = Math.max(0, (this.#open.grant.leaseExpires - now()) / 1000);
    this.#timer = this.#endAfter(leaseSeconds + limits.idleSeconds, 'no request for too long');
  }

  #endAfter(seconds: number, why: string): NodeJS.Timeout {
    const fail = () => this.#sender.fail(new CvmpError('DEADLINE', why));
    return setTimeout(fail, Math.min(seconds * 1000, timerMax));
  }

  #endWhenDone(): void {
    if (this.#inFlight > 0 || this.#closed) return;
    if (this.#failure !== undefined) this.#sender.fail(this.#failure);
    else if (this.#halfClosed) this.#sender.end();
  }
}

function codedError(error: unknown): CvmpError | undefined {
  return error instanceof CvmpError ? error : undefined;
}

function requestIdOf(plaintext: Uint8Array): Uint8Array | undefined {
  try {
    const { requestId } = fromBinary(AgentMessageSchema, plaintext);
    return requestId.length === 16 ? requestId : undefined;
  } catch {
    return undefined;
  }
}

/** A session without a connection of its own has nothing to be bound to. */
function noConnection(): never {
  throw new CvmpError('UNAVAILABLE', 'the connection is gone');
}
