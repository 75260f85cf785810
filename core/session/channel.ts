import { SequencedEncrypt0 } from '../cose/sequenced-encrypt0.js';
import { demandSize } from './demands.js';
import type { SessionKeys } from './key-schedule.js';
import { frameBytesMax } from './messages.js';

const contentType = 'application/protobuf';
/** What a sealed frame adds to its plaintext, at most; bytes. */
const overheadMax = 64;
const aadLabel = 'CVMP/1 sealed';

/** The two directions of sealed frames after a handshake. */
export class Channel {
  readonly #out: SequencedEncrypt0;
  readonly #in: SequencedEncrypt0;
  readonly #outBytesMax: number;
  readonly #inBytesMax: number;

  /** Takes the keys over: the originals are overwritten. */
  constructor(end: 'agent' | 'server', sessionId: Uint8Array, keys: SessionKeys) {
    const make = (direction: 'a2s' | 's2a') => {
      const own = direction === 'a2s' ? keys.agentToServer : keys.serverToAgent;
      const made = new SequencedEncrypt0(own, contentType, [aadLabel, direction, sessionId]);
      own.key.fill(0);
      own.iv.fill(0);
      return made;
    };
    const [a2s, s2a] = [make('a2s'), make('s2a')];
    this.#out = end === 'agent' ? a2s : s2a;
    this.#in = end === 'agent' ? s2a : a2s;
    const { sealedToAgent, sealedToServer } = frameBytesMax;
    this.#outBytesMax = end === 'agent' ? sealedToServer : sealedToAgent;
    this.#inBytesMax = end === 'agent' ? sealedToAgent : sealedToServer;
  }

  /** @throws CvmpError SIZE, SEQUENCE */
  seal(plaintext: Uint8Array): Uint8Array {
    demandSize(plaintext, this.#outBytesMax - overheadMax, 'plaintext');
    return this.#out.seal(plaintext);
  }

  /** @throws CvmpError SIZE, SEQUENCE */
  open(frame: Uint8Array): Uint8Array {
    demandSize(frame, this.#inBytesMax, 'sealed');
    return this.#in.open(frame);
  }

  destroy(): void {
    this.#out.destroy();
    this.#in.destroy();
  }
}
