import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { EcPrivateKey } from '#core/crypto.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import { AgentSession } from '#core/session/agent.js';
import { snpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import {
  AgentMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
  type SessionNotice,
  SessionRequestSchema,
  SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import type { SimulatedGuest } from '#sim/guest.js';
import type { ReportValues } from '#sim/report.js';
import { sessionCodec } from '#wire/session.js';
import { GrpcStream, type StreamEnd } from './grpc-stream.js';

export const sessionPath = 'cvmp.v1.KeyService/Session';

type Frame = 'clientInit' | 'evidence' | 'activation' | 'sealed';
type Request = NonNullable<MessageInitShape<typeof AgentMessageSchema>['request']>;

export interface RawAgentOptions {
  readonly address: string;
  /** PEM; a real agent trusts the challenge instead, and verifies no certificate. */
  readonly ca: string;
  /** Of SEV-SNP; where there is none, `evidence` says what there is. */
  readonly guest?: SimulatedGuest;
  readonly configDocument: Uint8Array;
  /** Makes evidence of another format. */
  readonly evidence?: OtherEvidence;
  readonly suites?: readonly number[];
  /** Names its run, where its evidence names no instance. */
  readonly instanceKey?: EcPrivateKey;
}

/** Evidence of any format. */
export interface OtherEvidence {
  readonly profile: string;
  /** @returns collection over the 64 bytes */
  readonly collection: (reportData: Uint8Array) => Promise<CmwCollection>;
  /** TPM2_ActivateCredential, where the evidence rests on it; undefined: the TPM refuses. */
  readonly activate?: (
    credentialBlob: Uint8Array,
    encryptedSecret: Uint8Array,
  ) => Promise<Uint8Array | undefined>;
}

/** What is wrong with evidence. */
export interface EvidenceChange {
  /** Fields to falsify before the processor signs. */
  readonly overrides?: ReportValues;
  /** Changes the signed report. */
  readonly tamper?: (report: Uint8Array) => void;
  /** What the host gives along in place of its certificates; empty: nothing. */
  readonly certTable?: Uint8Array;
  /** Another guest's evidence. */
  readonly guest?: SimulatedGuest;
}

/** A frame as the stream carries it. */
export function sessionFrame(kind: Frame, value: Uint8Array): Uint8Array {
  const frame = { case: kind, value };
  return toBinary(SessionRequestSchema, create(SessionRequestSchema, { frame }));
}

/** A Key Agent step by step, so that a test can leave one out, repeat it or change it. */
export class RawAgent {
  readonly stream: GrpcStream;
  session: AgentSession;
  readonly notices: SessionNotice[] = [];
  readonly #options: RawAgentOptions;

  private constructor(stream: GrpcStream, options: RawAgentOptions) {
    this.stream = stream;
    this.#options = options;
    this.session = new AgentSession({
      codec: sessionCodec,
      configDocument: options.configDocument,
      exportKeyingMaterial: (label, context, length) =>
        new Uint8Array(stream.socket.exportKeyingMaterial(length, label, Buffer.from(context))),
      evidenceProfiles: [options.evidence?.profile ?? 'snp'],
      ...(options.suites === undefined ? {} : { suites: options.suites }),
      instanceKey: options.instanceKey,
    });
  }

  static async connect(options: RawAgentOptions): Promise<RawAgent> {
    const stream = await GrpcStream.open(options.address, sessionPath, options.ca);
    return new RawAgent(stream, options);
  }

  send(kind: Frame, value: Uint8Array): void {
    this.stream.send(sessionFrame(kind, value));
  }

  /** The bytes of the next frame, of the kind expected. @throws StreamEnd where there is none */
  async frame(kind: 'challenge' | 'credential' | 'accept' | 'sealed'): Promise<Uint8Array> {
    const got = await this.stream.next();
    if (!(got instanceof Uint8Array)) throw got;
    const { frame } = fromBinary(SessionResponseSchema, got);
    if (frame.case !== kind) throw new Error(`a ${frame.case} frame, not ${kind}`);
    return frame.value;
  }

  /** Evidence over what the challenge asks. */
  async evidenceFor(reportData: Uint8Array, change: EvidenceChange = {}): Promise<Uint8Array> {
    const { guest = this.#options.guest } = change;
    const { evidence } = this.#options;
    if (evidence !== undefined) {
      return this.session.evidence(encodeCmw(await evidence.collection(reportData)), 'test-agent');
    }
    const overrides = change.overrides ?? {};
    const { report, certTable } = await guest!.report({ reportData, vmpl: 0, overrides });
    change.tamper?.(report);
    const collection = encodeCmw(snpCollection(report, change.certTable ?? certTable));
    return this.session.evidence(collection, 'test-agent');
  }

  async challenge(): Promise<Uint8Array> {
    this.send('clientInit', this.session.clientInit());
    return (await this.session.challenge(await this.frame('challenge'))).reportData;
  }

  /** Answers the credential that comes next. A TPM that refuses leaves a guess as the answer. */
  async activate(): Promise<void> {
    const asked = await this.session.credential(await this.frame('credential'));
    const { activate } = this.#options.evidence!;
    const secret = await activate!(asked.credentialBlob, asked.encryptedSecret);
    this.send('activation', this.session.activation(secret ?? new Uint8Array(32)));
  }

  /** The whole handshake. @throws StreamEnd where it is refused */
  async attest(change: EvidenceChange = {}): Promise<ServerMessage> {
    const reportData = await this.challenge();
    this.send('evidence', await this.evidenceFor(reportData, change));
    if (this.#options.evidence?.activate !== undefined) await this.activate();
    await this.session.accept(await this.frame('accept'));
    return this.receive();
  }

  /** Begins to attest again; what was asked before is answered under `before` until the accept. */
  again(change: { configDocument?: Uint8Array } = {}): { readonly before: AgentSession } {
    const before = this.session;
    this.session = before.again(change);
    return { before };
  }

  /** Sends a request. @returns its id */
  request(request: Request, requestId: Uint8Array = crypto.randomBytes(16)): Uint8Array {
    const message = create(AgentMessageSchema, { requestId, request });
    this.send('sealed', this.session.seal(toBinary(AgentMessageSchema, message)));
    return requestId;
  }

  async receive(): Promise<ServerMessage> {
    return fromBinary(ServerMessageSchema, this.session.open(await this.frame('sealed')));
  }

  /** One request and its answer; notices that come before it are kept for {@link notice}. */
  async ask(request: Request, requestId?: Uint8Array): Promise<ServerMessage['response']> {
    this.request(request, requestId);
    for (;;) {
      const { response } = await this.receive();
      if (response.case !== 'notice') return response;
      this.notices.push(response.value);
    }
  }

  /** The next notice, which nobody asks for. */
  async notice(): Promise<SessionNotice> {
    const kept = this.notices.shift();
    if (kept !== undefined) return kept;
    const { requestId, response } = await this.receive();
    if (response.case !== 'notice' || requestId.length > 0) throw new Error(`${response.case}`);
    return response.value;
  }

  close(): void {
    this.session.close();
    this.stream.close();
  }
}

/** How a handshake was refused. */
export async function refusedWith(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (end) {
    if (typeof end === 'object' && end !== null && 'status' in end) return (end as StreamEnd).code;
    throw end;
  }
  return 'accepted';
}
