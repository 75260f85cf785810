import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { encodeCmw } from '#core/rats/cmw.js';
import { AgentSession } from '#core/session/agent.js';
import { snpCollection } from '#core/snp/evidence.js';
import {
  AgentMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import type { SimulatedGuest } from '#sim/guest.js';
import { sessionCodec } from '#wire/session.js';
import { type Connection, framed, GrpcStream } from './grpc-stream.js';

const path = '/cvmp.v1.KeyService/Session';

type FrameCase = NonNullable<SessionResponse['frame']['case']>;

/** A Key Agent in a simulated CVM, as cheap as one can be. */
export interface Cvm {
  readonly guest: SimulatedGuest;
  readonly configDocument: Uint8Array;
}

/** An attested session whose requests can be sealed before, and answers opened after, the clock. */
export class BenchAgent {
  readonly stream: GrpcStream;
  readonly #session: AgentSession;

  private constructor(stream: GrpcStream, session: AgentSession) {
    this.stream = stream;
    this.#session = session;
  }

  /** The whole handshake, up to and including the grant. */
  static async attest(connection: Connection, cvm: Cvm): Promise<BenchAgent> {
    const stream = new GrpcStream(connection, path);
    const session = new AgentSession({
      codec: sessionCodec,
      configDocument: cvm.configDocument,
      exportKeyingMaterial: connection.exportKeyingMaterial,
      evidenceProfiles: ['snp'],
    });
    const next = async (kind: FrameCase) => frameIn(await stream.next(), kind);
    const send = (kind: 'clientInit' | 'evidence', value: Uint8Array) =>
      stream.send(requestFrame(kind, value));

    const answer = next('challenge');
    send('clientInit', session.clientInit());
    const { reportData } = await session.challenge(await answer);
    const { report, certTable } = await cvm.guest.report({ reportData, vmpl: 0 });
    // Acceptance and grant may come in one piece.
    const frames: Buffer[] = [];
    const both = new Promise<void>((resolve) => {
      stream.onMessage = (message) => {
        if (frames.push(message) === 2) resolve();
      };
    });
    const collection = encodeCmw(snpCollection(report, certTable));
    send('evidence', session.evidence(collection, 'bench'));
    await stream.orEnded(both);
    await session.accept(frameIn(frames[0]!, 'accept'));
    const agent = new BenchAgent(stream, session);
    if (agent.open(frames[1]!).response.case !== 'grant') throw new Error('no grant');
    return agent;
  }

  /** The next request, sealed and framed; to be sent in this order. */
  seal(
    requestId: Uint8Array,
    request: NonNullable<MessageInitShape<typeof AgentMessageSchema>['request']>,
  ): Buffer {
    const message = toBinary(
      AgentMessageSchema,
      create(AgentMessageSchema, { requestId, request }),
    );
    return requestFrame('sealed', this.#session.seal(message));
  }

  /** The next answer; to be opened in the order of arrival. */
  open(message: Uint8Array): ServerMessage {
    return fromBinary(ServerMessageSchema, this.#session.open(frameIn(message, 'sealed')));
  }

  /** A new key. @returns its KeyID */
  async allocate(): Promise<Uint8Array> {
    const answer = this.stream.next();
    const requestId = new Uint8Array(16).map(() => Math.floor(Math.random() * 256));
    this.stream.send(this.seal(requestId, { case: 'keyAlloc', value: {} }));
    const { response } = this.open(await answer);
    if (response.case !== 'keyAlloc') throw new Error(`no key: ${response.case}`);
    return response.value.keyId;
  }

  close(): void {
    this.#session.close();
    this.stream.close();
  }
}

function requestFrame(kind: 'clientInit' | 'evidence' | 'sealed', value: Uint8Array): Buffer {
  const message = create(SessionRequestSchema, { frame: { case: kind, value } });
  return framed(toBinary(SessionRequestSchema, message));
}

function frameIn(message: Uint8Array, kind: FrameCase): Uint8Array {
  const { frame } = fromBinary(SessionResponseSchema, message);
  if (frame.case !== kind) throw new Error(`the server sent ${frame.case}, not ${kind}`);
  return frame.value;
}
