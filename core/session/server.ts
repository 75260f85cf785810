import { crypto } from '#crypto';
import { equalBytes } from '../bytes.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { label } from '../cose/headers.js';
import {
  decodeCoseKey,
  type EcPublicKey,
  ecPublicKey,
  encodeCoseKey,
  thumbprint,
} from '../cose/key.js';
import { sign1 } from '../cose/sign1.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import type { SignedCheckpoint } from '../log/checkpoint.js';
import type { Credential } from '../rats/activation.js';
import {
  type ConfigDocument,
  decodeConfigDocument,
  namesKeyServer,
} from '../rats/config-document.js';
import { type ExportKeyingMaterial, reportData } from './binding.js';
import { Channel } from './channel.js';
import { demandLength, demandSize } from './demands.js';
import type { ClaimedInstance } from './instance.js';
import {
  activationProof,
  deriveSessionKeys,
  extendTranscript,
  transcriptOf,
} from './key-schedule.js';
import {
  type Challenge,
  type ClientInit,
  frameBytesMax,
  messageType,
  protocolVersions,
  type SessionCodec,
} from './messages.js';
import { Phases } from './phases.js';
import { highestCommon, suiteOf, suites } from './suites.js';

export interface ServerSessionOptions {
  readonly codec: SessionCodec;
  /** Identity key of the Key Server, whose thumbprint config documents name. */
  readonly identity: EcPrivateKey;
  /** Of the connection that carries the session; undefined only where none is demanded. */
  readonly exportKeyingMaterial: ExportKeyingMaterial | undefined;
  /** Labels of evidence that the server can verify. */
  readonly evidenceProfiles: readonly string[];
  /** All that there are, unless told. */
  readonly suites?: readonly number[];
  /** Validity of a challenge; 60 unless told. */
  readonly challengeSeconds?: number;
  readonly randomBytes?: (length: number) => Uint8Array;
  /**
   * Answers the checkpoints that the agent keeps (core/log).
   * @throws CvmpError SERVER_ROLLBACK
   */
  readonly continueFrom?: (shown: readonly Uint8Array[]) => Promise<LogContinuation>;
}

/** The log of a Key Server as its challenge shows it. */
export interface LogContinuation {
  readonly checkpoint: SignedCheckpoint;
  /** Consistency proof from the one that was shown. */
  readonly path: readonly Uint8Array[];
}

/** Evidence as it came, and what it must have been made over; nothing in it is verified yet. */
export interface SessionEvidence {
  readonly sessionId: Uint8Array;
  /** CMW collection. */
  readonly collection: Uint8Array;
  readonly configDocument: Uint8Array;
  /** The same, read. */
  readonly document: ConfigDocument;
  /** 64 bytes that the evidence must carry. */
  readonly reportData: Uint8Array;
  /** Informative, unauthenticated. */
  readonly agentBuild: string;
  /** As the agent claims; to be proven by provenInstance. */
  readonly instance: ClaimedInstance | undefined;
}

const challengeSecondsDefault = 60;

/** Bytes of a credential's secret; no TPM takes more. */
const secretLength = 32;

/** What the server holds between the challenge and its acceptance. */
interface Challenged {
  readonly challenge: Challenge;
  readonly frame: Uint8Array;
  readonly clientInitFrame: Uint8Array;
  readonly nonceA: Uint8Array;
  readonly ephK: EcPublicKey;
  /** Of ephK. */
  readonly key: EcPrivateKey;
}

interface Attested {
  readonly challenge: Challenge;
  readonly key: EcPrivateKey;
  readonly ephA: EcPublicKey;
  readonly transcript: Uint8Array;
  /** Between credential and activation. */
  readonly credential?: { readonly frame: Uint8Array; readonly proof: Uint8Array };
}

/**
 * The Key Server's end of a session (protocol.md s.6.2), in the order of its methods: clientInit,
 * evidence, accept, then seal and open. Between evidence and accept the caller verifies and
 * appraises, with one credential and its activation where the evidence asks for them; it refuses by
 * close. No I/O, no clock; one use. Any failure, and any call out of
 * order, ends it for good.
 */
export class ServerSession {
  readonly #options: ServerSessionOptions;
  readonly #identity: EcPublicKey;
  readonly #phases = new Phases<
    'new' | 'challenged' | 'attested' | 'activating' | 'activated' | 'open'
  >('new', () => this.#forget());
  #challenged: Challenged | undefined;
  #attested: Attested | undefined;
  #channel: Channel | undefined;
  /** Of this session, once it is open. */
  #continuity: Uint8Array | undefined;
  /** Of the session before on the same stream. */
  readonly #before: Uint8Array | undefined;

  constructor(options: ServerSessionOptions, before?: Uint8Array) {
    this.#options = options;
    this.#before = before;
    this.#identity = ecPublicKey(options.identity.curve, options.identity.publicPoint);
  }

  /**
   * Answers the first frame.
   * @param nowMs the server's clock, milliseconds since 1970
   * @returns the challenge frame
   * @throws CvmpError VERSION, SUITE, UNSUPPORTED_EVIDENCE, UNKNOWN_CRITICAL, SERVER_ROLLBACK,
   *   MALFORMED, SIZE, PROTOCOL_ORDER
   */
  async clientInit(frame: Uint8Array, nowMs: number): Promise<Uint8Array> {
    return this.#phases.step('new', 'challenged', async () => {
      demandSize(frame, frameBytesMax.clientInit, 'client_init');
      const init = this.#options.codec.clientInit.decode(frame);
      const chosen = this.#choose(init);
      const log = await this.#options.continueFrom?.(init.lastCheckpoints);
      const key = await crypto.generateEcKey(suiteOf(chosen.suite).curve);
      const ephK = ecPublicKey(key.curve, key.publicPoint);
      const random = this.#options.randomBytes ?? crypto.randomBytes;
      const seconds = this.#options.challengeSeconds ?? challengeSecondsDefault;
      const challenge: Challenge = {
        ...chosen,
        sessionId: random(16),
        nonceK: random(32),
        ephK: encodeCoseKey(ephK),
        notAfter: Math.floor(nowMs / 1000) + seconds,
        hInit: crypto.hash('sha256', frame),
        ksKey: encodeCoseKey(this.#identity),
        checkpoint: log?.checkpoint.signed ?? new Uint8Array(),
        consistencyPath: log?.path ?? [],
      };
      const payload = this.#options.codec.challenge.encode(challenge);
      const signed = await this.#sign(payload, messageType.challenge);
      this.#challenged = {
        challenge,
        frame: signed,
        clientInitFrame: frame.slice(),
        nonceA: init.nonceA,
        ephK,
        key,
      };
      return signed;
    });
  }

  /**
   * Takes the evidence frame; the challenge is used up by it, whatever comes of it.
   * @throws CvmpError NONCE_EXPIRED, CONFIG_MISMATCH, MALFORMED, NOT_CANONICAL, SIZE, PROTOCOL_ORDER
   */
  evidence(frame: Uint8Array, nowMs: number): SessionEvidence {
    return this.#phases.stepNow('challenged', 'attested', () => {
      demandSize(frame, frameBytesMax.evidence, 'evidence');
      const challenged = this.#challenged!;
      this.#challenged = undefined;
      const { challenge, frame: challengeFrame, clientInitFrame, nonceA, ephK, key } = challenged;
      if (nowMs >= challenge.notAfter * 1000) {
        throw new CvmpError('NONCE_EXPIRED', 'the evidence came after the end of its challenge');
      }
      const { configDocument, ...evidence } = this.#options.codec.evidence.decode(frame);
      const suite = suiteOf(challenge.suite);
      const ephA = decodeCoseKey(evidence.ephA, 'eph_a');
      if (ephA.curve !== suite.curve) {
        throw new CvmpError('MALFORMED', `eph_a is not on ${suite.curve}`, { field: 'eph_a' });
      }
      const document = decodeConfigDocument(configDocument);
      const ksThumbprint = thumbprint(this.#identity);
      if (!namesKeyServer(document, ksThumbprint)) {
        throw new CvmpError('CONFIG_MISMATCH', 'the config document names other Key Servers');
      }
      const claimed = evidence.instanceKey;
      const instanceKey = claimed.length === 0 ? undefined : decodeCoseKey(claimed, 'instance_key');
      const transcript = transcriptOf(suite, clientInitFrame, challengeFrame, frame);
      this.#attested = { challenge, key, ephA, transcript };
      return {
        sessionId: challenge.sessionId,
        collection: evidence.cmwCollection,
        configDocument,
        document,
        agentBuild: evidence.agentBuild,
        instance: instanceKey && { key: instanceKey, proof: evidence.instanceProof },
        reportData: reportData({
          challenge,
          challengeFrame,
          clientInitFrame,
          nonceA,
          ephA,
          ephK,
          ksThumbprint,
          configDocument,
          instanceKey,
          exportKeyingMaterial: this.#options.exportKeyingMaterial,
        }),
      };
    });
  }

  /**
   * Asks the agent to open a credential; nothing is accepted before it did.
   * @param seal makes the credential of a secret (32 bytes)
   * @returns the credential frame
   * @throws CvmpError PROTOCOL_ORDER, and what `seal` throws
   */
  async credential(seal: (secret: Uint8Array) => Promise<Credential>): Promise<Uint8Array> {
    return this.#phases.step('attested', 'activating', async () => {
      const attested = this.#attested!;
      const secret = (this.#options.randomBytes ?? crypto.randomBytes)(secretLength);
      const { credentialBlob, encryptedSecret } = await seal(secret);
      const { sessionId } = attested.challenge;
      const frame = await this.#sign(
        this.#options.codec.credential.encode({ sessionId, credentialBlob, encryptedSecret }),
        messageType.credential,
      );
      const proof = activationProof(secret, attested.transcript, frame);
      secret.fill(0);
      this.#attested = { ...attested, credential: { frame, proof } };
      return frame;
    });
  }

  /**
   * Takes the agent's answer to the credential. Stops an AK that is not in the TPM of its EK.
   * @throws CvmpError AK_UNTRUSTED, NONCE_EXPIRED, MALFORMED, SIZE, INVALID_FIELD, PROTOCOL_ORDER
   */
  activation(frame: Uint8Array, nowMs: number): void {
    this.#phases.stepNow('activating', 'activated', () => {
      demandSize(frame, frameBytesMax.activation, 'activation');
      const { credential, challenge, transcript, ...attested } = this.#attested!;
      if (nowMs >= challenge.notAfter * 1000) {
        throw new CvmpError('NONCE_EXPIRED', 'the activation came after the end of its challenge');
      }
      const { proof } = this.#options.codec.activation.decode(frame);
      if (!equalBytes(proof, credential!.proof)) {
        throw new CvmpError('AK_UNTRUSTED', 'the TPM of the EK did not open the credential', {
          field: 'activation.proof',
        });
      }
      const suite = suiteOf(challenge.suite);
      const extended = extendTranscript(suite, transcript, credential!.frame, frame);
      this.#attested = { ...attested, challenge, transcript: extended };
    });
  }

  /**
   * Says that the evidence was verified and appraised. Whether the agent holds the private half of
   * eph_a shows with its first sealed frame.
   * @returns the accept frame
   * @throws CvmpError MALFORMED where eph_a is not on its curve, PROTOCOL_ORDER
   */
  async accept(): Promise<Uint8Array> {
    return this.#phases.step(['attested', 'activated'], 'open', async () => {
      const { challenge, key, ephA, transcript } = this.#attested!;
      const { sessionId } = challenge;
      this.#attested = undefined;
      const shared = await crypto.ecdh(key, ephA.point);
      const payload = this.#options.codec.accept.encode({ sessionId, transcript });
      const frame = await this.#sign(payload, messageType.accept);
      const keys = deriveSessionKeys(
        suiteOf(challenge.suite),
        sessionId,
        shared,
        transcript,
        frame,
        this.#before,
      );
      this.#continuity = keys.continuity;
      this.#channel = new Channel('server', sessionId, keys);
      return frame;
    });
  }

  /** Seals the next message to the agent. @throws CvmpError PROTOCOL_ORDER, SEQUENCE */
  seal(plaintext: Uint8Array): Uint8Array {
    return this.#phases.stepNow('open', 'open', () => this.#channel!.seal(plaintext));
  }

  /** Opens the next frame of the agent. @throws CvmpError PROTOCOL_ORDER, SEQUENCE, SIZE */
  open(frame: Uint8Array): Uint8Array {
    return this.#phases.stepNow('open', 'open', () => this.#channel!.open(frame));
  }

  /**
   * A session that attests again on the same stream (protocol.md s.6.5). This one stays open until
   * the other is; its secrets enter the other's keys, so that nobody else goes on with the stream.
   * @param change of the options
   * @throws CvmpError PROTOCOL_ORDER where this one is not open
   */
  again(change: Partial<ServerSessionOptions> = {}): ServerSession {
    return this.#phases.stepNow('open', 'open', () => {
      const options = { ...this.#options, ...change };
      return new ServerSession(options, this.#continuity!.slice());
    });
  }

  /** True once it failed or was closed. */
  get closed(): boolean {
    return this.#phases.dead;
  }

  /** Ends the session and overwrites its keys. */
  close(): void {
    this.#phases.end();
  }

  #choose(init: ClientInit): Pick<Challenge, 'version' | 'suite' | 'requiredProfiles'> {
    demandLength(init.nonceA, 32, 'nonce_a');
    const [critical] = init.criticalExtensions;
    if (critical !== undefined) {
      const field = 'critical_extensions';
      throw new CvmpError('UNKNOWN_CRITICAL', `unknown extension ${critical}`, { field });
    }
    const version = highestCommon(init.versions, protocolVersions);
    if (version === undefined) {
      throw new CvmpError('VERSION', 'no common protocol version', { field: 'versions' });
    }
    const own = this.#options.suites ?? suites.map((row) => row.id);
    const suite = highestCommon(init.suites, own);
    if (suite === undefined) {
      throw new CvmpError('SUITE', 'no common suite', { field: 'suites' });
    }
    const profiles = this.#options.evidenceProfiles;
    const requiredProfiles = profiles.filter((p) => init.evidenceProfiles.includes(p));
    if (requiredProfiles.length === 0) {
      const field = 'evidence_profiles';
      throw new CvmpError('UNSUPPORTED_EVIDENCE', 'no common evidence', { field });
    }
    return { version, suite, requiredProfiles };
  }

  #sign(payload: Uint8Array, typ: string): Promise<Uint8Array> {
    return sign1(this.#options.identity, payload, {
      protected: new Map<CborKey, CborValue>([
        [label.kid, thumbprint(this.#identity)],
        [label.typ, typ],
      ]),
    });
  }

  #forget(): void {
    this.#challenged = undefined;
    this.#attested = undefined;
    this.#channel?.destroy();
    this.#channel = undefined;
    this.#continuity?.fill(0);
    this.#before?.fill(0);
  }
}
