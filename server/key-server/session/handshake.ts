import { CvmpError } from '#core/errors.js';
import type { KeyToActivate } from '#core/rats/activation.js';
import type { ServerSession } from '#core/session/server.js';
import type { CallContext } from '#server/host/handlers.js';
import type { SessionGrant } from '../release/contract.js';
import type { Attested, Verifier } from '../verifier/attest.js';

export interface HandshakeParts {
  readonly verifier: Verifier;
  readonly context: CallContext;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly send: (kind: 'challenge' | 'credential', value: Uint8Array) => void;
  /** Of the session before on the same stream, where this attests again. */
  readonly before: SessionGrant | undefined;
}

/** What a handshake ends in. Nothing is sealed by the new session before `accept` was sent. */
export interface Accepted {
  readonly session: ServerSession;
  readonly accept: Uint8Array;
  readonly attested: Attested;
}

/** One handshake of a stream, its first or one more: what comes between two states of the keys. */
export class Handshake {
  readonly #session: ServerSession;
  readonly #parts: HandshakeParts;
  /** Goes on with the attestation that waits for an activation. */
  #activated:
    | { readonly resolve: () => void; readonly reject: (error: unknown) => void }
    | undefined;
  #cancelled = false;
  #attesting = false;

  constructor(session: ServerSession, parts: HandshakeParts) {
    this.#session = session;
    this.#parts = parts;
  }

  /** The evidence is here and not judged yet: the agent waits, and seals nothing. */
  get attesting(): boolean {
    return this.#attesting;
  }

  /** @throws CvmpError as ServerSession.clientInit */
  async clientInit(bytes: Uint8Array): Promise<void> {
    const { send, now } = this.#parts;
    send('challenge', await this.#session.clientInit(bytes, now()));
  }

  /** @throws CvmpError with the reason of the refusal, which is on record */
  async evidence(bytes: Uint8Array): Promise<Accepted> {
    const { verifier, context, now, before } = this.#parts;
    const evidence = this.#session.evidence(bytes, now());
    this.#attesting = true;
    const activate = (key: KeyToActivate) => this.#activate(key);
    const attested = await verifier.attest(evidence, context, activate, before);
    const accept = await this.#session.accept();
    return { session: this.#session, accept, attested };
  }

  /** What is wrong with the answer is for the attestation to tell, and to record. */
  activation(bytes: Uint8Array): void {
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

  /** The stream is gone. */
  cancel(): void {
    this.#cancelled = true;
    this.#session.close();
    this.#activated?.reject(gone());
  }

  /** Both credential legs: the attestation goes on only with the right answer. */
  async #activate(key: KeyToActivate): Promise<void> {
    const frame = await this.#session.credential((secret) => key.seal(secret));
    this.#parts.send('credential', frame);
    await new Promise<void>((resolve, reject) => {
      this.#activated = { resolve, reject };
      if (this.#cancelled) reject(gone());
    });
  }
}

function gone(): CvmpError {
  return new CvmpError('CANCELLED', 'the agent left before it activated its credential');
}
