import { CvmpError } from '#core/errors.js';
import type { AgentSession } from '#core/session/agent.js';
import type { Attester } from '../attester/attester.js';
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
  /** Told right before the evidence leaves: nothing may be sealed from then to the accept. */
  readonly onEvidence?: () => void;
}

/**
 * The handshake up to the accept frame, which is for the caller to take (protocol.md s.6.2).
 * @returns the accept frame
 * @throws CvmpError SERVER_UNTRUSTED, TSM_*, TPM_*, UNSUPPORTED_EVIDENCE, UNAVAILABLE
 */
export async function attest(
  session: AgentSession,
  wire: HandshakeWire,
  { attester, agentBuild, onEvidence }: Attesting,
): Promise<Uint8Array> {
  wire.send('clientInit', session.clientInit());
  const challenge = await wire.nextOf(['challenge']);
  const demand = await session.challenge(challenge.value);
  const evidence = await attester.evidence(demand.reportData);
  onEvidence?.();
  wire.send('evidence', session.evidence(evidence, agentBuild));
  const { kind, value } = await wire.nextOf(['credential', 'accept']);
  if (kind === 'accept') return value;
  await activate(session, wire, attester, value);
  return (await wire.nextOf(['accept'])).value;
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
