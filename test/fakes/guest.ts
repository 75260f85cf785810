import { rmSync } from 'node:fs';
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { CvmEvidenceSchema } from '#gen/cvmp/v1/evidence_pb.js';
import {
  type GuestActivateRequest,
  GuestService,
  type GuestStatusResponseSchema,
} from '#gen/cvmp/v1/guest_pb.js';

type Status = MessageInitShape<typeof GuestStatusResponseSchema>;

/** A Key Agent that says what a test tells it to. */
export class FakeGuest {
  evidence: (nonce: Uint8Array) => Promise<MessageInitShape<typeof CvmEvidenceSchema>> = async (
    nonce,
  ) => ({ configDocument: nonce, cmwCollection: nonce, agentBuild: 'fake' });
  activate: (request: GuestActivateRequest) => Promise<Uint8Array> = async ({ nonce }) => nonce;
  readonly socket: string;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  #statuses: Status[] = [];
  #wake: () => void = () => {};
  #ended = false;

  private constructor(socket: string) {
    this.socket = socket;
    this.#server = createServer(
      connectNodeAdapter({
        routes: (router) =>
          router.service(GuestService, {
            guestEvidence: async ({ nonce }) => ({ evidence: await this.evidence(nonce) }),
            guestActivate: async (request) => ({ proof: await this.activate(request) }),
            guestStatus: (_, context) => this.#follow(context.signal),
          }),
      }),
    );
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  static async start(socket: string): Promise<FakeGuest> {
    const guest = new FakeGuest(socket);
    await new Promise<void>((resolve) => guest.#server.listen(socket, resolve));
    return guest;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sessions.size;
  }

  say(status: Status): void {
    this.#statuses.push(status);
    this.#wake();
  }

  /** Breaks every connection; new ones are served. */
  interrupt(): void {
    for (const session of this.#sessions) session.destroy();
  }

  async stop(): Promise<void> {
    this.#ended = true;
    this.#wake();
    this.interrupt();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.socket, { force: true });
  }

  /** The last status, then each one that is told. */
  async *#follow(signal: AbortSignal): AsyncGenerator<Status> {
    let at = Math.max(0, this.#statuses.length - 1);
    signal.addEventListener('abort', () => this.#wake());
    while (!this.#ended && !signal.aborted) {
      while (at < this.#statuses.length) yield this.#statuses[at++]!;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
