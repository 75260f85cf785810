import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { toHex } from '#core/bytes.js';
import type { EcPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { AgentSession, type AgentSessionOptions } from '#core/session/agent.js';
import {
  AgentMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { sessionCodec } from '#wire/session.js';
import type { Attester } from '../attester/attester.js';
import type { AgentConfig } from '../config.js';
import type { CheckpointKeeper } from './checkpoints.js';
import { openConnection } from './connection.js';
import { type Frame, FrameStream, type ResponseCase, within } from './frame-stream.js';
import { checkGrant } from './grant.js';
import { attest, HandshakeFrames, type HandshakeWire } from './handshake.js';
import type {
  AcquireReason,
  AllocRequest,
  Grant,
  KeySession,
  Notice,
  ReleasedKey,
} from './key-session.js';
import { Notices } from './notices.js';
import {
  acquiredKey,
  acquireRequest,
  allocatedKey,
  allocRequest,
  sessionGrant,
} from './released.js';
import { refusal, remoteError } from './remote-error.js';

export interface ConnectOptions {
  readonly keyServer: AgentConfig['keyServer'];
  /** PEM; undefined: see {@link openConnection}. */
  readonly ca: string | undefined;
  readonly attester: Attester;
  readonly configDocument: Uint8Array;
  readonly agentBuild: string;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Names this run of the agent, where its evidence names no instance. */
  readonly instanceKey?: EcPrivateKey | undefined;
  /** What Key Servers said of their logs; absent: they are held to nothing. */
  readonly checkpoints?: CheckpointKeeper;
}

type Request = NonNullable<MessageInitShape<typeof AgentMessageSchema>['request']>;
type Answer = ServerMessage['response'];
type AnswerCase = NonNullable<Answer['case']>;
type AnswerOf<K extends AnswerCase> = Extract<Answer, { case: K }>['value'];

/**
 * Connects, attests, and gives the session (protocol.md s.6.2). Nothing about this CVM leaves it
 * before the server has proved to be one of the config document's.
 * @throws CvmpError UNAVAILABLE, SERVER_UNTRUSTED, TSM_*, or the Key Server's refusal
 */
export async function connectSession(options: ConnectOptions): Promise<KeySession> {
  const connection = await openConnection(options.keyServer, options.ca);
  const stream = new FrameStream(connection);
  let session: AgentSession | undefined;
  try {
    session = new AgentSession({
      codec: sessionCodec,
      configDocument: options.configDocument,
      exportKeyingMaterial: connection.exportKeyingMaterial,
      evidenceProfiles: options.attester.profiles,
      randomBytes: options.randomBytes,
      instanceKey: options.instanceKey,
      ...shownBy(options),
    });
    const { accept, keyServer } = await attest(session, stream, options);
    await session.accept(accept);
    const first = readServerMessage(session.open((await stream.nextOf(['sealed'])).value));
    await keepCheckpoint(first, keyServer, options);
    return new OpenSession(stream, session, { grant: readGrant(first), keyServer }, options);
  } catch (error) {
    session?.close();
    stream.close();
    throw remoteError(error);
  }
}

const frameKinds = ['sealed', 'challenge', 'credential', 'accept'] as const;

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: CvmpError) => void;
}

/** One more handshake beside the session that is open. */
interface Again {
  readonly frames: HandshakeFrames;
  /** The new keys are in use: the next frame is sealed by them, and holds the grant. */
  readonly switched: Promise<void>;
  readonly onGrant: (sealed: Uint8Array) => void;
}

/** A session after its handshake: sealed requests, answered by their ids in any order. */
class OpenSession implements KeySession {
  readonly ended: Promise<CvmpError>;
  readonly #options: ConnectOptions;
  readonly #stream: FrameStream;
  readonly #waiting = new Map<string, Waiting>();
  readonly #notices = new Notices();
  #tellEnd: (error: CvmpError) => void = () => {};
  #session: AgentSession;
  #keyServer: EcPublicKey;
  #grant: Grant;
  #reattesting: Promise<Grant> | undefined;
  #again: Again | undefined;
  /** Resolves when requests may be sealed again; between evidence and grant none may. */
  #quiet: Promise<void> | undefined;
  #lost: CvmpError | undefined;

  constructor(
    stream: FrameStream,
    session: AgentSession,
    { grant, keyServer }: { readonly grant: Grant; readonly keyServer: EcPublicKey },
    options: ConnectOptions,
  ) {
    this.#keyServer = keyServer;
    this.#stream = stream;
    this.#session = session;
    this.#grant = grant;
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve;
    });
    void this.#receive();
  }

  get grant(): Grant {
    return this.#grant;
  }

  async alloc(request: AllocRequest): Promise<ReleasedKey> {
    const value = allocRequest(request);
    const answer = await this.#ask({ case: 'keyAlloc', value }, 'keyAlloc', request.requestId);
    return allocatedKey(request, answer);
  }

  async acquire(keyId: Uint8Array, svn: number | undefined, reason: AcquireReason, epoch?: number) {
    const value = acquireRequest(keyId, svn, reason, epoch);
    return acquiredKey(value, await this.#ask({ case: 'keyAcquire', value }, 'keyAcquire'));
  }

  async update(
    keyId: Uint8Array,
    targetSvn: number,
    retire: { readonly svn: number; readonly epoch: number } | undefined,
  ) {
    const below = retire && { retireBelow: retire.svn, retireEpochsBelow: retire.epoch };
    const value = { keyId, targetSvn, ...below };
    await this.#ask({ case: 'keyUpdate', value }, 'keyUpdate');
  }

  async confirm({ keyId, svn, epoch, kcv }: Parameters<KeySession['confirm']>[0]) {
    await this.#ask({ case: 'keyConfirm', value: { keyId, svn, epoch, kcv } }, 'keyConfirm');
  }

  reattest(): Promise<Grant> {
    this.#reattesting ??= this.#attestAgain().finally(() => {
      this.#reattesting = undefined;
    });
    return this.#reattesting;
  }

  onNotice(listener: (notice: Notice) => void): void {
    this.#notices.listen(listener);
  }

  close(): void {
    this.#end(new CvmpError('CANCELLED', 'the agent closed the session'));
  }

  async #attestAgain(): Promise<Grant> {
    if (this.#lost !== undefined) throw this.#lost;
    const frames = new HandshakeFrames();
    const [switched, onSwitched] = signal<void>();
    const [sealed, onGrant] = signal<Uint8Array>();
    const [spoken, speak] = signal<void>();
    this.#again = { frames, switched, onGrant };
    try {
      const next = this.#session.again(shownBy(this.#options));
      const wire: HandshakeWire = {
        send: (kind, value) => this.#stream.send(kind, value),
        nextOf: (kinds) => frames.nextOf(kinds),
      };
      const onEvidence = () => {
        this.#quiet = spoken;
      };
      const { accept, keyServer } = await attest(next, wire, { ...this.#options, onEvidence });
      await next.accept(accept);
      this.#session.close();
      this.#session = next;
      this.#keyServer = keyServer;
      onSwitched();
      const first = readServerMessage(next.open(await within(sealed)));
      await keepCheckpoint(first, keyServer, this.#options);
      const grant = readGrant(first);
      await checkGrant(grant, this.#options.configDocument);
      this.#grant = grant;
      return grant;
    } catch (caught) {
      const error = this.#lost ?? remoteError(caught);
      onSwitched();
      this.#end(error);
      throw error;
    } finally {
      this.#again = undefined;
      this.#quiet = undefined;
      speak();
    }
  }

  /** Sends a request and waits for its answer; where the server asks for it, attests again first. */
  async #ask<K extends AnswerCase>(
    request: Request,
    kind: K,
    requestId = this.#options.randomBytes(16),
  ): Promise<AnswerOf<K>> {
    try {
      return await this.#askOnce(request, kind, requestId);
    } catch (error) {
      if (!(error instanceof CvmpError) || error.code !== 'REATTEST_REQUIRED') throw error;
      await this.reattest();
      return this.#askOnce(request, kind, requestId);
    }
  }

  async #askOnce<K extends AnswerCase>(
    request: Request,
    kind: K,
    requestId: Uint8Array,
  ): Promise<AnswerOf<K>> {
    while (this.#quiet !== undefined) await this.#quiet;
    if (this.#lost !== undefined) throw this.#lost;
    const id = toHex(requestId);
    const message = create(AgentMessageSchema, { requestId, request });
    // Sealed and sent in one go: frames are numbered, and must arrive in their order.
    this.#stream.send('sealed', this.#session.seal(toBinary(AgentMessageSchema, message)));
    const answered = new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    try {
      const answer = await within(answered);
      if (answer.case === 'error') throw refusal(answer.value);
      if (answer.case === kind) return answer.value as AnswerOf<K>;
      throw new CvmpError('PROTOCOL_ORDER', `the Key Server answered ${kind} by ${answer.case}`);
    } finally {
      this.#waiting.delete(id);
    }
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const frame = await this.#stream.wheneverOf(frameKinds);
        if (frame.kind === 'sealed') await this.#opened(this.#session.open(frame.value));
        else await this.#handshakeFrame(frame);
      }
    } catch (error) {
      this.#end(remoteError(error));
    }
  }

  /** What the server says of its log is kept before its answer is used. */
  async #opened(plaintext: Uint8Array): Promise<void> {
    const message = readServerMessage(plaintext);
    await keepCheckpoint(message, this.#keyServer, this.#options);
    const { requestId, response } = message;
    if (response.case === 'notice') this.#notices.received(response.value);
    else this.#waiting.get(toHex(requestId))?.resolve(response);
  }

  /** After the accept frame nothing is read before the new keys are there to read it. */
  async #handshakeFrame(frame: Frame<ResponseCase>): Promise<void> {
    const again = this.#again;
    if (again === undefined) {
      throw new CvmpError('PROTOCOL_ORDER', `the Key Server sent ${frame.kind} unasked`);
    }
    again.frames.put(frame);
    if (frame.kind !== 'accept') return;
    await again.switched;
    if (this.#lost !== undefined) throw this.#lost;
    again.onGrant((await this.#stream.wheneverOf(['sealed'])).value);
    // Opened there, in its turn: the frames after it must wait for that.
    await this.#reattesting?.catch(() => {});
  }

  #end(error: CvmpError): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#session.close();
    this.#stream.close();
    this.#again?.frames.fail(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#tellEnd(error);
  }
}

/** Checkpoints that the next ClientInit shows. */
function shownBy({ checkpoints }: ConnectOptions): Pick<AgentSessionOptions, 'lastCheckpoints'> {
  return checkpoints === undefined ? {} : { lastCheckpoints: checkpoints.all };
}

async function keepCheckpoint(
  { checkpoint }: ServerMessage,
  keyServer: EcPublicKey,
  { checkpoints }: ConnectOptions,
): Promise<void> {
  if (checkpoint.length > 0) await checkpoints?.keep(checkpoint, keyServer);
}

function readServerMessage(bytes: Uint8Array): ServerMessage {
  try {
    return fromBinary(ServerMessageSchema, bytes);
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'a sealed frame holds no ServerMessage', { cause });
  }
}

/** Always the first sealed frame. */
function readGrant({ response }: ServerMessage): Grant {
  if (response.case === 'grant') return sessionGrant(response.value);
  throw new CvmpError('PROTOCOL_ORDER', `the first sealed frame is ${response.case}, no grant`);
}

/** A promise and what resolves it. */
function signal<T>(): readonly [Promise<T>, (value: T) => void] {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((resolved) => {
    resolve = resolved;
  });
  return [promise, resolve];
}
