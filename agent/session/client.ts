import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { AgentSession } from '#core/session/agent.js';
import {
  AgentMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { sessionCodec } from '#wire/session.js';
import type { Attester } from '../attester/attester.js';
import type { AgentConfig } from '../config.js';
import { openConnection } from './connection.js';
import { FrameStream, within } from './frame-stream.js';
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
}

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
    });
    stream.send('clientInit', session.clientInit());
    const demand = await session.challenge(await stream.next('challenge'));
    const evidence = await options.attester.evidence(demand.reportData);
    stream.send('evidence', session.evidence(evidence, options.agentBuild));
    await session.accept(await activated(stream, session, options.attester));
    const grant = readGrant(session.open(await stream.next('sealed')));
    return new OpenSession(stream, session, grant, options.randomBytes);
  } catch (error) {
    session?.close();
    stream.close();
    throw remoteError(error);
  }
}

/**
 * Answers a credential, where the server makes one; then it accepts.
 * @returns the accept frame
 * @throws CvmpError UNSUPPORTED_EVIDENCE where this CVM has no TPM to ask
 */
async function activated(
  stream: FrameStream,
  session: AgentSession,
  attester: Attester,
): Promise<Uint8Array> {
  const { kind, value } = await stream.nextOf(['credential', 'accept']);
  if (kind === 'accept') return value;
  const { credentialBlob, encryptedSecret } = await session.credential(value);
  const secret = await attester.activateCredential?.(credentialBlob, encryptedSecret);
  if (secret === undefined) {
    const why = 'the Key Server asks to activate a credential, and the evidence was of no TPM';
    throw new CvmpError('UNSUPPORTED_EVIDENCE', why);
  }
  stream.send('activation', session.activation(secret));
  return stream.next('accept');
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: CvmpError) => void;
}

/** A session after its handshake: sealed requests, answered by their ids in any order. */
class OpenSession implements KeySession {
  readonly grant: Grant;
  readonly #stream: FrameStream;
  readonly #session: AgentSession;
  readonly #randomBytes: (length: number) => Uint8Array;
  readonly #waiting = new Map<string, Waiting>();
  readonly #notices = new Notices();
  #lost: CvmpError | undefined;

  constructor(
    stream: FrameStream,
    session: AgentSession,
    grant: Grant,
    randomBytes: (length: number) => Uint8Array,
  ) {
    this.#stream = stream;
    this.#session = session;
    this.grant = grant;
    this.#randomBytes = randomBytes;
    void this.#receive();
  }

  async alloc(request: AllocRequest): Promise<ReleasedKey> {
    const value = allocRequest(request);
    const answer = await this.#ask({ case: 'keyAlloc', value }, 'keyAlloc', request.requestId);
    return allocatedKey(request, answer);
  }

  async acquire(keyId: Uint8Array, svn: number | undefined, reason: AcquireReason) {
    const value = acquireRequest(keyId, svn, reason);
    return acquiredKey(value, await this.#ask({ case: 'keyAcquire', value }, 'keyAcquire'));
  }

  async update(keyId: Uint8Array, targetSvn: number, retireBelow: number | undefined) {
    const value = { keyId, targetSvn, ...(retireBelow === undefined ? {} : { retireBelow }) };
    await this.#ask({ case: 'keyUpdate', value }, 'keyUpdate');
  }

  async confirm({ keyId, svn, kcv }: Pick<ReleasedKey, 'keyId' | 'svn' | 'kcv'>) {
    await this.#ask({ case: 'keyConfirm', value: { keyId, svn, kcv } }, 'keyConfirm');
  }

  onNotice(listener: (notice: Notice) => void): void {
    this.#notices.listen(listener);
  }

  close(): void {
    this.#end(new CvmpError('CANCELLED', 'the agent closed the session'));
  }

  /** Sends a request and waits for the answer to its id. */
  async #ask<K extends AnswerCase>(
    request: NonNullable<MessageInitShape<typeof AgentMessageSchema>['request']>,
    kind: K,
    requestId = this.#randomBytes(16),
  ): Promise<AnswerOf<K>> {
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
        const frame = await this.#stream.whenever('sealed');
        const { requestId, response } = readServerMessage(this.#session.open(frame));
        if (response.case === 'notice') this.#notices.received(response.value);
        else this.#waiting.get(toHex(requestId))?.resolve(response);
      }
    } catch (error) {
      this.#end(remoteError(error));
    }
  }

  #end(error: CvmpError): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#session.close();
    this.#stream.close();
    for (const { reject } of this.#waiting.values()) reject(error);
  }
}

function readServerMessage(bytes: Uint8Array): ServerMessage {
  try {
    return fromBinary(ServerMessageSchema, bytes);
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'a sealed frame holds no ServerMessage', { cause });
  }
}

/** Always the first sealed frame. */
function readGrant(bytes: Uint8Array): Grant {
  const { response } = readServerMessage(bytes);
  if (response.case === 'grant') return sessionGrant(response.value);
  throw new CvmpError('PROTOCOL_ORDER', `the first sealed frame is ${response.case}, no grant`);
}
