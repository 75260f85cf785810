import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createContextKey, createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { KeySession } from '#agent/session/key-session.js';
import { equalBytes, toHex } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey, thumbprint } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { ServerSession } from '#core/session/server.js';
import { parseSnpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import {
  AcquireReason,
  type AgentMessage,
  AgentMessageSchema,
  KeyService,
  ServerMessageSchema,
  type SessionGrantSchema,
  type SessionNoticeSchema,
  type SessionRequest,
  type SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { selfSigned } from '#server/host/self-signed.js';
import type { TlsIdentity } from '#server/host/tls.js';
import { sessionCodec } from '#wire/session.js';
import { policyType, signTyped } from '#wire/signed-policy.js';
import { FakeKeyServer } from './key-server.js';
import { FakeLog } from './log.js';

type Response = NonNullable<MessageInitShape<typeof ServerMessageSchema>['response']>;

/** What a test may word of the policy. */
export interface FakePolicy {
  readonly tenantId: string;
  readonly cvmNames: string[];
  readonly allowSimulated: boolean;
}

/** What a test changes about an honest Key Server. */
export interface Misbehaviour {
  /** In place of the checkpoint of an answer. */
  checkpoint?: Uint8Array | undefined;
  /** Refuses the evidence with this error. */
  refuse?: CvmpError | undefined;
  /** Sees each request and may answer it in the place of the server; throws to break the stream. */
  answer?: ((message: AgentMessage) => Response | undefined) | undefined;
  /** Changes a frame on its way out. */
  frame?: ((kind: 'challenge' | 'accept' | 'sealed', frame: Uint8Array) => Uint8Array) | undefined;
  /** Hands out other content than the honest grant. */
  grant?: MessageInitShape<typeof SessionGrantSchema> | undefined;
}

const nothing = new Uint8Array();
const socketKey = createContextKey<TLSSocket | undefined>(undefined);

/**
 * A Key Server of one process for tests of the agent: the real session over the real TLS exporter,
 * keys of {@link FakeKeyServer}, a policy that the test may word, and no appraisal beyond the
 * report data.
 */
export class SessionServer {
  readonly keys = new FakeKeyServer();
  /** Level that every agent proves. */
  level = 1;
  readonly misbehaviour: Misbehaviour = {};
  policy: FakePolicy = { tenantId: 'acme', cvmNames: ['web*'], allowSimulated: true };
  leaseMs = 3_600_000;
  log: FakeLog;
  readonly sessions = new Set<ServerHttp2Session>();
  /** Streams that were opened. */
  handshakes = 0;
  readonly identity: EcPrivateKey;
  readonly tenant: EcPrivateKey;
  readonly tls: TlsIdentity;
  port = 0;
  /** Handshakes that were begun on any stream, its first one included. */
  attestations = 0;
  readonly #tell = new Set<(notice: MessageInitShape<typeof SessionNoticeSchema>) => void>();
  readonly #now: () => number;
  #close: () => Promise<void> = async () => {};

  private constructor(
    identity: EcPrivateKey,
    tenant: EcPrivateKey,
    tls: TlsIdentity,
    now: () => number,
  ) {
    this.identity = identity;
    this.log = new FakeLog(identity);
    this.tenant = tenant;
    this.tls = tls;
    this.#now = now;
  }

  static async start(now: () => number = Date.now): Promise<SessionServer> {
    const identity = await crypto.generateEcKey('P-256');
    const tenant = await crypto.generateEcKey('P-256');
    const tls = await selfSigned(['localhost', '127.0.0.1'], Date.now());
    const server = new SessionServer(identity, tenant, tls, now);
    await server.listen();
    return server;
  }

  /** Listens, again on the same port where it did before. */
  async listen(): Promise<void> {
    const http = createSecureServer(
      { key: this.tls.key, cert: this.tls.certificate, minVersion: 'TLSv1.3' },
      connectNodeAdapter({
        routes: (router) => {
          router.service(KeyService, {
            session: (requests, { values }) => this.#serve(requests, values.get(socketKey)!),
          });
        },
        contextValues: (request) => {
          const { stream } = request as { stream?: { session?: ServerHttp2Session } };
          const socket = stream?.session?.socket as TLSSocket | undefined;
          return createContextValues().set(socketKey, socket);
        },
      }),
    );
    http.on('session', (session) => {
      this.sessions.add(session);
      session.on('close', () => this.sessions.delete(session));
      session.on('error', () => {});
    });
    await new Promise<void>((resolve) => http.listen(this.port, '127.0.0.1', resolve));
    this.port = (http.address() as AddressInfo).port;
    this.#close = () =>
      new Promise((resolve) => {
        this.cut();
        http.close(() => resolve());
      });
  }

  /** Breaks every connection. */
  cut(): void {
    for (const session of this.sessions) session.destroy();
  }

  /** Stops listening; {@link listen} begins again. */
  async close(): Promise<void> {
    await this.#close();
  }

  /** A config document that names this server and tenant. */
  configDocument(cvmName = 'web-1'): Uint8Array {
    return encodeConfigDocument({
      tenantId: 'acme',
      keyServers: [thumbprint(publicOf(this.identity))],
      policyAnchor: thumbprint(publicOf(this.tenant)),
      cvmName,
    });
  }

  /** Tells every open session. */
  notify(notice: MessageInitShape<typeof SessionNoticeSchema>): void {
    for (const tell of this.#tell) tell(notice);
  }

  async *#serve(requests: AsyncIterable<SessionRequest>, socket: TLSSocket) {
    const out = new Outgoing();
    const answering = this.#answerAll(requests, socket, out).then(
      () => out.end(),
      (error: unknown) => out.end(wireError(error)),
    );
    try {
      yield* out.frames();
    } finally {
      await answering;
    }
  }

  async #answerAll(
    requests: AsyncIterable<SessionRequest>,
    socket: TLSSocket,
    outgoing: Outgoing,
  ): Promise<void> {
    this.handshakes += 1;
    let handshake = new ServerSession({
      codec: sessionCodec,
      identity: this.identity,
      exportKeyingMaterial: (label, context, length) =>
        new Uint8Array(socket.exportKeyingMaterial(length, label, Buffer.from(context))),
      evidenceProfiles: ['snp'],
      continueFrom: (shown) => this.log.continueFrom(shown),
    });
    let session: ServerSession | undefined;
    const send = (kind: 'challenge' | 'accept' | 'sealed', value: Uint8Array) =>
      outgoing.put({
        frame: { case: kind, value: this.misbehaviour.frame?.(kind, value) ?? value },
      });
    const seal = (requestId: Uint8Array, response: Response, checkpoint: Uint8Array = nothing) => {
      const message = create(ServerMessageSchema, { requestId, response, checkpoint });
      send('sealed', session!.seal(toBinary(ServerMessageSchema, message)));
    };
    const tell = (value: MessageInitShape<typeof SessionNoticeSchema>) =>
      seal(new Uint8Array(0), { case: 'notice', value });
    try {
      for await (const { frame } of requests) {
        if (frame.case === 'clientInit') {
          if (session !== undefined) handshake = session.again();
          this.attestations += 1;
          send('challenge', await handshake.clientInit(frame.value, this.#now()));
        } else if (frame.case === 'evidence') {
          const evidence = handshake.evidence(frame.value, this.#now());
          this.#appraise(evidence.collection, evidence.reportData);
          send('accept', await handshake.accept());
          session = handshake;
          seal(new Uint8Array(0), { case: 'grant', value: await this.#grant() });
          this.#tell.add(tell);
        } else {
          const message = fromBinary(AgentMessageSchema, session!.open(frame.value!));
          const keys = this.keys.session(this.level);
          const answer = this.misbehaviour.answer?.(message) ?? (await answerOf(keys, message));
          this.log.add(`decision for ${toHex(message.requestId)}`);
          const checkpoint = this.misbehaviour.checkpoint ?? (await this.log.newest()).signed;
          seal(message.requestId, answer, checkpoint);
        }
      }
    } finally {
      this.#tell.delete(tell);
    }
  }

  #appraise(collection: Uint8Array, reportData: Uint8Array): void {
    if (this.misbehaviour.refuse !== undefined) throw this.misbehaviour.refuse;
    const { report } = parseSnpCollection(decodeCmw(collection));
    if (!equalBytes(report.reportData, reportData)) {
      throw new CvmpError('BINDING_MISMATCH', 'made for another session');
    }
  }

  async #grant(): Promise<MessageInitShape<typeof SessionGrantSchema>> {
    const { tenantId, cvmNames, allowSimulated } = this.policy;
    const content = { tenantId, policyId: 'p', version: 1n, cvmNames };
    const policy = create(SetKeyPolicySchema, { ...content, appraisal: { allowSimulated } });
    return {
      level: this.level,
      leaseExpires: timestampFromMs(this.#now() + this.leaseMs),
      signedPolicy: await signTyped(this.tenant, policyType, toBinary(SetKeyPolicySchema, policy)),
      inFlightMax: 16,
      simulated: true,
      tenantKey: encodeCoseKey(publicOf(this.tenant)),
      ...this.misbehaviour.grant,
    };
  }
}

type ResponseFrame = MessageInitShape<typeof SessionResponseSchema>;

/** Frames that answers and notices put, in their order. */
class Outgoing {
  readonly #queue: ResponseFrame[] = [];
  #ended: { readonly error: unknown } | undefined;
  #wake = () => {};

  put(frame: ResponseFrame): void {
    this.#queue.push(frame);
    this.#wake();
  }

  end(error?: unknown): void {
    this.#ended = { error };
    this.#wake();
  }

  async *frames(): AsyncGenerator<ResponseFrame> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        yield next;
      } else if (this.#ended !== undefined) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

function publicOf(key: EcPrivateKey) {
  return ecPublicKey(key.curve, key.publicPoint);
}

async function answerOf(keys: KeySession, { requestId, request }: AgentMessage): Promise<Response> {
  try {
    switch (request.case) {
      case 'keyAlloc': {
        const { keyId } = request.value;
        const named = keyId.length === 0 ? undefined : keyId;
        const released = await keys.alloc({ requestId, keyId: named, purpose: 'disk' });
        return { case: 'keyAlloc', value: { ...released, securityKey: released.key } };
      }
      case 'keyAcquire': {
        const { keyId, svn, reason, epoch } = request.value;
        const why = reason === AcquireReason.REKEY ? 'rekey' : 'boot';
        const released = await keys.acquire(keyId, svn || undefined, why, epoch || undefined);
        return { case: 'keyAcquire', value: { ...released, securityKey: released.key } };
      }
      case 'keyUpdate': {
        const { keyId, targetSvn, retireBelow, retireEpochsBelow } = request.value;
        const below = { svn: retireBelow, epoch: retireEpochsBelow };
        await keys.update(keyId, targetSvn, retireBelow === 0 ? undefined : below);
        return { case: 'keyUpdate', value: { newFloor: targetSvn } };
      }
      default:
        await keys.confirm(request.value as Parameters<KeySession['confirm']>[0]);
        return { case: 'keyConfirm', value: {} };
    }
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { case: 'error', value: { code: error.code, message: error.message, field: '' } };
  }
}

function wireError(error: unknown): unknown {
  if (!(error instanceof CvmpError)) return error;
  const { code, next } = error;
  return new ConnectError(`${code}: fixed`, Code.Unauthenticated, undefined, [
    { desc: ErrorDetailSchema, value: { code, next, field: '' } },
  ]);
}
