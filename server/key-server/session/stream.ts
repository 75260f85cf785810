import { fromBinary } from '@bufbuild/protobuf';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import type { KeyToActivate } from '#core/rats/activation.js';
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
import type { KeyServerMetrics } from '../metrics.js';
import type { NoticeBoard } from '../notices.js';
import type { Keys, SessionGrant } from '../release/contract.js';
import type { Verifier } from '../verifier/attest.js';
import { answerRequest, errorMessage, grantMessage, namedKey, noticeMessage } from './requests.js';
import { ToldSession } from './told.js';

/** Every limit is finite. */
export interface SessionLimits {
  /** From the opening of the stream to the acceptance of its evidence. */
  readonly handshakeSeconds: number;
  readonly challengeSeconds: number;
  /** An attested stream without requests is ended after this. */
  readonly idleSeconds: number;
  /** Requests that may be in flight at once on one stream. */
  readonly inFlightMax: number;
  /** Streams at once. */
  readonly sessionsMax: number;
}

export interface SessionParts {
  readonly identity: EcPrivateKey;
  readonly verifier: Verifier;
  readonly keys: Keys;
  readonly notices: NoticeBoard;
  readonly limits: SessionLimits;
  readonly metrics?: KeyServerMetrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

type FrameCase = 'challenge' | 'credential' | 'accept' | 'sealed';

/**
 * One Session stream: attest once, then many pipelined requests, answered as they are done. What it
 * knows dies with the stream.
 */
export class SessionStream implements StreamReceiver<typeof SessionRequestSchema> {
  readonly #parts: SessionParts;
  readonly #sender: StreamSender<typeof SessionResponseSchema>;
  readonly #context: CallContext;
  readonly #session: ServerSession;
  readonly #ended: () => void;
  #grant: SessionGrant | undefined;
  #told: ToldSession | undefined;
  #unregister = () => {};
  /** Goes on with the attestation that waits for an activation. */
  #activated:
    | { readonly resolve: () => void; readonly reject: (error: unknown) => void }
    | undefined;
  #inFlight = 0;
  #halfClosed = false;
  #draining: CvmpError | undefined;
  #timer: NodeJS.Timeout;
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
    this.#session = new ServerSession({
      codec: sessionCodec,
      identity: parts.identity,
      exportKeyingMaterial: context.exportKeyingMaterial ?? noConnection,
      evidenceProfiles: parts.verifier.profiles,
      challengeSeconds: parts.limits.challengeSeconds,
    });
    this.#timer = this.#endAfter(parts.limits.handshakeSeconds, 'the handshake took too long');
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
        this.#activation(frame.value);
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
    this.#draining = error;
    this.#told?.tell({ kind: 'shutting-down' });
    this.#endWhenDone();
  }

  drained(): void {
    this.#told?.release();
    this.#sender.resume();
  }

  closed(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unregister();
    this.#session.close();
    this.#grant = undefined;
    this.#activated?.reject(gone());
    this.#ended();
  }

  async #clientInit(bytes: Uint8Array): Promise<void> {
    this.#send('challenge', await this.#session.clientInit(bytes, this.#parts.now()));
  }

  async #evidence(bytes: Uint8Array): Promise<void> {
    const { verifier, limits, now } = this.#parts;
    const evidence = this.#session.evidence(bytes, now());
    const attested = await verifier.attest(evidence, this.#context, (key) => this.#activate(key));
    const accept = await this.#session.accept();
    this.#grant = attested.grant;
    this.#send('accept', accept);
    this.#answer(grantMessage(attested, limits.inFlightMax));
    this.#register(attested.grant);
    this.#waitForRequests();
  }

  /** From here on the session is told what happens to its policy and keys. */
  #register(grant: SessionGrant): void {
    if (this.#closed) return;
    this.#told = new ToldSession(grant, (notice) => this.#answer(noticeMessage(notice)));
    this.#unregister = this.#parts.notices.register(this.#told);
  }

  /** Both credential legs: the attestation goes on only with the right answer. */
  async #activate(key: KeyToActivate): Promise<void> {
    this.#send('credential', await this.#session.credential((secret) => key.seal(secret)));
    await new Promise<void>((resolve, reject) => {
      this.#activated = { resolve, reject };
      if (this.#closed) reject(gone());
    });
  }

  /** What is wrong with the answer is for the attestation to tell, and to record. */
  #activation(bytes: Uint8Array): void {
    const waiting = this.#activated;
    this.#activated = undefined;
    try {
      this.#session.activation(bytes, this.#parts.now());
      waiting?.resolve();
    } catch (error) {
      if (waiting === undefined) throw error;
      waiting.reject(error);
    }
  }

  /** Opens in the order of arrival; answers come in the order in which they are ready. */
  #request(sealed: Uint8Array): void {
    const plaintext = this.#session.open(sealed);
    const grant = this.#grant;
    if (grant === undefined) throw new TypeError('a session is open without a grant');
    const message = this.#read(plaintext);
    if (message === undefined) return;
    if (this.#draining !== undefined) {
      this.#answer(errorMessage(message.requestId, this.#draining));
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
    this.#run(this.#decide(grant, message));
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

  async #decide(grant: SessionGrant, message: AgentMessage): Promise<void> {
    const started = performance.now();
    let code: ErrorCode | 'OK' = 'OK';
    try {
      this.#told?.uses(namedKey(message));
      const answer = await answerRequest(this.#parts.keys, grant, message);
      if (answer.keyId !== undefined) this.#told?.uses(answer.keyId);
      this.#answer(answer.message);
      answer.securityKey?.fill(0);
    } catch (error) {
      if (!(error instanceof CvmpError)) {
        this.#context.log.error(errorFields(error), 'request failed');
      }
      const told = error instanceof CvmpError ? error : undefined;
      code = told?.code ?? 'INTERNAL';
      this.#answer(errorMessage(message.requestId, told));
    } finally {
      const seconds = (performance.now() - started) / 1000;
      this.#parts.metrics?.request(message.request.case, code, seconds);
      this.#inFlight -= 1;
      this.#waitForRequests();
      this.#endWhenDone();
    }
  }

  /** Whatever goes wrong outside of a request ends the stream. */
  #run(work: Promise<void>): void {
    work.catch((error) => this.#sender.fail(error));
  }

  #answer(message: ServerMessage): void {
    if (this.#closed) return;
    const plaintext = writeMessage(ServerMessageSchema, message);
    this.#send('sealed', this.#session.seal(plaintext));
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
    this.#told?.hold();
    this.#sender.pause();
  }

  #waitForRequests(): void {
    if (this.#inFlight > 0 || this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = this.#endAfter(this.#parts.limits.idleSeconds, 'no request for too long');
  }

  #endAfter(seconds: number, why: string): NodeJS.Timeout {
    return setTimeout(() => this.#sender.fail(new CvmpError('DEADLINE', why)), seconds * 1000);
  }

  #endWhenDone(): void {
    if (this.#inFlight > 0 || this.#closed) return;
    if (this.#halfClosed) this.#sender.end();
    else if (this.#draining !== undefined) this.#sender.fail(this.#draining);
  }
}

function requestIdOf(plaintext: Uint8Array): Uint8Array | undefined {
  try {
    const { requestId } = fromBinary(AgentMessageSchema, plaintext);
    return requestId.length === 16 ? requestId : undefined;
  } catch {
    return undefined;
  }
}

function gone(): CvmpError {
  return new CvmpError('CANCELLED', 'the agent left before it activated its credential');
}

/** A session without a connection of its own has nothing to be bound to. */
function noConnection(): never {
  throw new CvmpError('UNAVAILABLE', 'the connection is gone');
}
