import type { EcPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { AgentSession } from '#core/session/agent.js';
import type { Attester } from '../attester/attester.js';
import type { CheckpointKeeper } from './checkpoints.js';
import { type Frame, type RequestCase, type ResponseCase, within } from './frame-stream.js';

/** Where the frames of a handshake go to and come from. */
export interface HandshakeWire {
  send(kind: RequestCase, value: Uint8Array): void;
  /** The next frame, which must be of one of these kinds. */
  nextOf<K extends ResponseCase>(kinds: readonly K[]): Promise<Frame<K>>;
}

interface Attesting {
  readonly attester: Attester;
  readonly agentBuild: string;
  /** What the server is held to; it is told of the checkpoint that the challenge shows. */
  readonly checkpoints?: Pick<CheckpointKeeper, 'keep'> | undefined;
  /** Told right before the evidence leaves: nothing may be sealed from then to the accept. */
  readonly onEvidence?: () => void;
}

/** A server that took the evidence. */
export interface AcceptedBy {
  readonly accept: Uint8Array;
  readonly keyServer: EcPublicKey;
}

/**
 * The handshake up to the accept frame, which is for the caller to take (protocol.md s.6.2).
 * @returns the accept frame, and who sent it
 * @throws CvmpError SERVER_UNTRUSTED, TSM_*, TPM_*, UNSUPPORTED_EVIDENCE, UNAVAILABLE
 */
export async function attest(
  session: AgentSession,
  wire: HandshakeWire,
  { attester, agentBuild, checkpoints, onEvidence }: Attesting,
): Promise<AcceptedBy> {
  wire.send('clientInit', session.clientInit());
  const challenge = await wire.nextOf(['challenge']);
  const demand = await session.challenge(challenge.value);
  const { keyServer, checkpoint } = demand;
  if (checkpoint !== undefined) await checkpoints?.keep(checkpoint.signed, keyServer);
  const evidence = await attester.evidence(demand.reportData);
  onEvidence?.();
  wire.send('evidence', session.evidence(evidence, agentBuild));
  const { kind, value } = await wire.nextOf(['credential', 'accept']);
  if (kind === 'accept') return { accept: value, keyServer };
  await activate(session, wire, attester, value);
  return { accept: (await wire.nextOf(['accept'])).value, keyServer };
}

/** @throws CvmpError UNSUPPORTED_EVIDENCE where this CVM has no TPM to ask */
async function activate(
  session: AgentSession,
  wire: HandshakeWire,
  attester: Attester,
  credential: Uint8Array,
): Promise<void> {
  const { credentialBlob, encryptedSecret } = await session.credential(credential);
  const secret = await attester.activateCredential?.(credentialBlob, encryptedSecret);
  if (secret === undefined) {
    const why = 'the Key Server asks to activate a credential, and the evidence was of no TPM';
    throw new CvmpError('UNSUPPORTED_EVIDENCE', why);
  }
  wire.send('activation', session.activation(secret));
}

/** Handshake frames that come between sealed ones, for the handshake that waits for them. */
export class HandshakeFrames {
  readonly #frames: Frame<ResponseCase>[] = [];
  #wake = () => {};
  #failure: CvmpError | undefined;

  put(frame: Frame<ResponseCase>): void {
    this.#frames.push(frame);
    this.#wake();
  }

  /** The stream is lost. */
  fail(error: CvmpError): void {
    this.#failure = error;
    this.#wake();
  }

  /** @throws CvmpError PROTOCOL_ORDER, UNAVAILABLE */
  async nextOf<K extends ResponseCase>(kinds: readonly K[]): Promise<Frame<K>> {
    if (this.#frames.length === 0 && this.#failure === undefined) {
      const put = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(put);
    }
    const frame = this.#frames.shift();
    if (frame === undefined) throw this.#failure ?? new TypeError('woken for nothing');
    const kind = kinds.find((one) => one === frame.kind);
    if (kind !== undefined) return { kind, value: frame.value };
    const what = `the Key Server sent ${frame.kind}, not ${kinds.join(' or ')}`;
    throw new CvmpError('PROTOCOL_ORDER', what);
  }
}
