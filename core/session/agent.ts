import { crypto } from '#crypto';
import { equalBytes, toHex } from '../bytes.js';
import {
  decodeCoseKey,
  type EcPublicKey,
  ecPublicKey,
  encodeCoseKey,
  thumbprint,
} from '../cose/key.js';
import { openSign1, parseSign1, verifySign1 } from '../cose/sign1.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { demandContinuation, openCheckpoint, type SignedCheckpoint } from '../log/checkpoint.js';
import type { Credential } from '../rats/activation.js';
import {
  type ConfigDocument,
  decodeConfigDocument,
  namesKeyServer,
} from '../rats/config-document.js';
import { type ExportKeyingMaterial, reportData } from './binding.js';
import { Channel } from './channel.js';
import { demandLength, demandSize } from './demands.js';
import { proveInstance } from './instance.js';
import {
  activationProof,
  deriveSessionKeys,
  extendTranscript,
  transcriptOf,
} from './key-schedule.js';
import {
  type Challenge,
  frameBytesMax,
  messageType,
  protocolVersions,
  type SessionCodec,
} from './messages.js';
import { Phases } from './phases.js';
import { suiteOf } from './suites.js';

export interface AgentSessionOptions {
  readonly codec: SessionCodec;
  /** As bound by the hardware; the caller has compared it with its own report. */
  readonly configDocument: Uint8Array;
  /** Of the connection that carries the session; undefined only where none is demanded. */
  readonly exportKeyingMaterial: ExportKeyingMaterial | undefined;
  /** Labels of evidence that this CVM can give. */
  readonly evidenceProfiles: readonly string[];
  /** Suite 1 alone unless told: P-384 costs a session about 7 ms of CPU. */
  readonly suites?: readonly number[];
  readonly randomBytes?: (length: number) => Uint8Array;
  /** Names this run of the agent, for evidence that names no instance; lives in memory alone. */
  readonly instanceKey?: EcPrivateKey | undefined;
  /**
   * Checkpoints that this agent keeps, at most one of each Key Server (core/log). Given, even empty:
   * a server that shows none of its log is refused.
   */
  readonly lastCheckpoints?: readonly SignedCheckpoint[];
}

/** What the agent must now obtain evidence over. */
export interface EvidenceDemand {
  readonly sessionId: Uint8Array;
  /** 64 bytes, to be put into the report. */
  readonly reportData: Uint8Array;
  readonly requiredProfiles: readonly string[];
  /** Who challenges; it signs its checkpoints too. */
  readonly keyServer: EcPublicKey;
  /** The newest one of the server, which continues the one that was kept. */
  readonly checkpoint: SignedCheckpoint | undefined;
}

/** What the agent holds between the challenge and its acceptance. */
interface Challenged {
  readonly challenge: Challenge;
  readonly frame: Uint8Array;
  readonly ksKey: EcPublicKey;
  readonly ephK: EcPublicKey;
  readonly ephA: EcPublicKey;
  /** Of ephA. */
  readonly key: EcPrivateKey;
  /** By the instance key; empty: there is none. */
  readonly instanceProof: Uint8Array;
  /** Over the first three messages, once the third is made; over five after an activation. */
  transcript?: Uint8Array;
  /** Credential frame that waits for its activation. */
  credential?: Uint8Array;
}

/**
 * The Key Agent's end of a session (protocol.md s.6.2), in the order of its methods:
 * clientInit, challenge, evidence, (credential, activation,) accept, then seal and open. No I/O, no clock; one use.
 * Any failure, and any call out of order, ends it for good.
 */
export class AgentSession {
  readonly #options: AgentSessionOptions;
  readonly #document: ConfigDocument;
  readonly #versions: readonly number[];
  readonly #suites: readonly number[];
  readonly #nonceA: Uint8Array;
  readonly #phases = new Phases<
    'new' | 'initiated' | 'challenged' | 'attested' | 'activating' | 'activated' | 'open'
  >('new', () => this.#forget());
  #clientInitFrame: Uint8Array = new Uint8Array();
  #challenged: Challenged | undefined;
  #channel: Channel | undefined;
  /** Of this session, once it is open. */
  #continuity: Uint8Array | undefined;
  /** Of the session before on the same stream. */
  readonly #before: Uint8Array | undefined;

  /** @throws CvmpError VERSION where the config document demands a later protocol; its own codes */
  constructor(options: AgentSessionOptions, before?: Uint8Array) {
    this.#options = options;
    this.#before = before;
    this.#document = decodeConfigDocument(options.configDocument);
    const lowest = this.#document.protocolMin ?? 1;
    this.#versions = protocolVersions.filter((version) => version >= lowest);
    if (this.#versions.length === 0) {
      throw new CvmpError('VERSION', `the config document demands protocol ${lowest} or later`);
    }
    this.#suites = options.suites ?? [1];
    this.#nonceA = (options.randomBytes ?? crypto.randomBytes)(32);
  }

  /** The first frame. */
  clientInit(): Uint8Array {
    return this.#phases.stepNow('new', 'initiated', () => {
      this.#clientInitFrame = this.#options.codec.clientInit.encode({
        versions: this.#versions,
        suites: this.#suites,
        nonceA: this.#nonceA,
        evidenceProfiles: this.#options.evidenceProfiles,
        criticalExtensions: [],
        lastCheckpoints: this.#options.lastCheckpoints?.map(({ signed }) => signed) ?? [],
      });
      return this.#clientInitFrame;
    });
  }

  /**
   * Judges the server's answer before anything about this CVM leaves it.
   * @throws CvmpError SERVER_UNTRUSTED, LOG_INCONSISTENT, VERSION, SUITE, UNSUPPORTED_EVIDENCE,
   *   MALFORMED, SIZE
   */
  async challenge(frame: Uint8Array): Promise<EvidenceDemand> {
    return this.#phases.step('initiated', 'challenged', async () => {
      demandSize(frame, frameBytesMax.challenge, 'challenge');
      const { challenge, ksKey } = await this.#openChallenge(frame);
      this.#judge(challenge);
      const checkpoint = await this.#openCheckpoint(challenge, ksKey);
      const suite = suiteOf(challenge.suite);
      const ephK = decodeCoseKey(challenge.ephK, 'eph_k');
      if (ephK.curve !== suite.curve) throw malformed('eph_k', `is not on ${suite.curve}`);
      const key = await crypto.generateEcKey(suite.curve);
      const ephA = ecPublicKey(key.curve, key.publicPoint);
      const { configDocument, exportKeyingMaterial, instanceKey } = this.#options;
      const bound = reportData({
        challenge,
        challengeFrame: frame,
        clientInitFrame: this.#clientInitFrame,
        nonceA: this.#nonceA,
        ephA,
        ephK,
        ksThumbprint: thumbprint(ksKey),
        configDocument,
        instanceKey: this.#instanceKey,
        exportKeyingMaterial,
      });
      const instanceProof = instanceKey
        ? await proveInstance(instanceKey, bound)
        : new Uint8Array();
      const received = { challenge, frame: frame.slice(), ksKey, ephK };
      this.#challenged = { ...received, ephA, key, instanceProof };
      const { sessionId, requiredProfiles } = challenge;
      return { sessionId, requiredProfiles, keyServer: ksKey, checkpoint, reportData: bound };
    });
  }

  /** The evidence frame, around evidence over the demanded report data. */
  evidence(cmwCollection: Uint8Array, agentBuild: string): Uint8Array {
    return this.#phases.stepNow('challenged', 'attested', () => {
      const challenged = this.#known();
      const { codec, configDocument } = this.#options;
      const ephA = encodeCoseKey(challenged.ephA);
      const { challenge, frame: challengeFrame, instanceProof } = challenged;
      const own = this.#instanceKey;
      const instanceKey = own === undefined ? new Uint8Array() : encodeCoseKey(own);
      const instance = { instanceKey, instanceProof };
      const content = { ephA, configDocument, cmwCollection, agentBuild, ...instance };
      const frame = codec.evidence.encode(content);
      challenged.transcript = transcriptOf(
        suiteOf(challenge.suite),
        this.#clientInitFrame,
        challengeFrame,
        frame,
      );
      return frame;
    });
  }

  /**
   * The server asks the TPM to open a credential before it takes the evidence.
   * @throws CvmpError SERVER_UNTRUSTED, BINDING_MISMATCH, MALFORMED, SIZE
   */
  async credential(frame: Uint8Array): Promise<Credential> {
    return this.#phases.step('attested', 'activating', async () => {
      demandSize(frame, frameBytesMax.credential, 'credential');
      const challenged = this.#known();
      const rules = { typ: messageType.credential };
      const { payload } = await openSign1(frame, challenged.ksKey, rules).catch(distrust);
      const { sessionId, ...credential } = this.#options.codec.credential.decode(payload);
      if (!equalBytes(sessionId, challenged.challenge.sessionId)) {
        throw new CvmpError('BINDING_MISMATCH', 'the credential is of another session');
      }
      challenged.credential = frame.slice();
      return credential;
    });
  }

  /** The activation frame. @param secret as the TPM opened it; it is overwritten */
  activation(secret: Uint8Array): Uint8Array {
    return this.#phases.stepNow('activating', 'activated', () => {
      const challenged = this.#known();
      const { challenge, transcript, credential } = challenged;
      const proof = activationProof(secret, transcript!, credential!);
      secret.fill(0);
      const frame = this.#options.codec.activation.encode({ proof });
      const suite = suiteOf(challenge.suite);
      challenged.transcript = extendTranscript(suite, transcript!, credential!, frame);
      return frame;
    });
  }

  /**
   * The server took the evidence; from here on frames are sealed.
   * @throws CvmpError SERVER_UNTRUSTED, BINDING_MISMATCH, MALFORMED, SIZE
   */
  async accept(frame: Uint8Array): Promise<void> {
    await this.#phases.step(['attested', 'activated'], 'open', async () => {
      demandSize(frame, frameBytesMax.accept, 'accept');
      const { challenge, ksKey, ephK, key, transcript } = this.#known();
      const rules = { typ: messageType.accept };
      const { payload } = await openSign1(frame, ksKey, rules).catch(distrust);
      const accept = this.#options.codec.accept.decode(payload);
      if (
        transcript === undefined ||
        !equalBytes(accept.sessionId, challenge.sessionId) ||
        !equalBytes(accept.transcript, transcript)
      ) {
        throw new CvmpError('BINDING_MISMATCH', 'the server accepted another handshake');
      }
      const suite = suiteOf(challenge.suite);
      const shared = await crypto.ecdh(key, ephK.point);
      const { sessionId } = challenge;
      const keys = deriveSessionKeys(suite, sessionId, shared, transcript, frame, this.#before);
      this.#continuity = keys.continuity;
      this.#channel = new Channel('agent', sessionId, keys);
      this.#challenged = undefined;
    });
  }

  /** Seals the next message to the server. @throws CvmpError PROTOCOL_ORDER, SEQUENCE */
  seal(plaintext: Uint8Array): Uint8Array {
    return this.#phases.stepNow('open', 'open', () => this.#channel!.seal(plaintext));
  }

  /** Opens the next frame of the server. @throws CvmpError PROTOCOL_ORDER, SEQUENCE, SIZE */
  open(frame: Uint8Array): Uint8Array {
    return this.#phases.stepNow('open', 'open', () => this.#channel!.open(frame));
  }

  /**
   * A session that attests again on the same stream (protocol.md s.6.5). This one stays open until
   * the other is; its secrets enter the other's keys, so that nobody else goes on with the stream.
   * @param change of the options
   * @throws CvmpError PROTOCOL_ORDER where this one is not open
   */
  again(change: Partial<AgentSessionOptions> = {}): AgentSession {
    return this.#phases.stepNow('open', 'open', () => {
      const options = { ...this.#options, ...change };
      return new AgentSession(options, this.#continuity!.slice());
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

  async #openChallenge(
    frame: Uint8Array,
  ): Promise<{ readonly challenge: Challenge; readonly ksKey: EcPublicKey }> {
    const { codec } = this.#options;
    // The key is inside; nothing else of the payload is looked at before it is found trusted.
    const unverified = parseSign1(frame, { typ: messageType.challenge });
    if (unverified.payload === null) throw malformed('challenge', 'has no payload');
    const ksKey = decodeCoseKey(codec.challenge.decode(unverified.payload).ksKey, 'ks_key');
    const name = thumbprint(ksKey);
    if (!namesKeyServer(this.#document, name)) {
      throw untrusted(`key server ${toHex(name)} is not in the config document`);
    }
    const payload = await verifySign1(unverified, ksKey).catch(distrust);
    return { challenge: codec.challenge.decode(payload), ksKey };
  }

  /** What was offered is what was chosen from: no downgrade, no answer to somebody else. */
  #judge(challenge: Challenge): void {
    if (!equalBytes(challenge.hInit, crypto.hash('sha256', this.#clientInitFrame))) {
      throw untrusted('the challenge answers another ClientInit');
    }
    if (!this.#versions.includes(challenge.version)) {
      throw new CvmpError('VERSION', `version ${challenge.version} was not offered`);
    }
    if (!this.#suites.includes(challenge.suite)) {
      throw new CvmpError('SUITE', `suite ${challenge.suite} was not offered`);
    }
    demandLength(challenge.sessionId, 16, 'session_id');
    demandLength(challenge.nonceK, 32, 'nonce_k');
    const { evidenceProfiles } = this.#options;
    const missing = challenge.requiredProfiles.find((p) => !evidenceProfiles.includes(p));
    if (missing !== undefined) {
      throw new CvmpError('UNSUPPORTED_EVIDENCE', `${missing} evidence was not offered`);
    }
  }

  /** What the server says of its log must continue what it said before (protocol.md s.6.4). */
  async #openCheckpoint(
    { checkpoint: signed, consistencyPath }: Challenge,
    keyServer: EcPublicKey,
  ): Promise<SignedCheckpoint | undefined> {
    const { lastCheckpoints } = this.#options;
    if (signed.length === 0) {
      if (lastCheckpoints === undefined) return undefined;
      throw untrusted('the Key Server shows no checkpoint of its log');
    }
    const checkpoint = await openCheckpoint(signed, keyServer).catch(distrust);
    const kept = lastCheckpoints?.find((one) => equalBytes(one.keyServer, checkpoint.keyServer));
    if (kept !== undefined) demandContinuation(kept, checkpoint, consistencyPath);
    return checkpoint;
  }

  get #instanceKey(): EcPublicKey | undefined {
    const { instanceKey: key } = this.#options;
    return key && ecPublicKey(key.curve, key.publicPoint);
  }

  #known(): Challenged {
    if (this.#challenged === undefined) throw new TypeError('no challenge');
    return this.#challenged;
  }

  #forget(): void {
    this.#challenged = undefined;
    this.#channel?.destroy();
    this.#channel = undefined;
    this.#continuity?.fill(0);
    this.#before?.fill(0);
  }
}

function malformed(field: string, what: string): CvmpError {
  return new CvmpError('MALFORMED', `${field} ${what}`, { field });
}

function untrusted(what: string): CvmpError {
  return new CvmpError('SERVER_UNTRUSTED', what);
}

/** A signature of the Key Server that does not verify is not the Key Server's. */
function distrust(cause: unknown): never {
  if (!(cause instanceof CvmpError) || cause.code !== 'SIGNATURE_INVALID') throw cause;
  throw new CvmpError('SERVER_UNTRUSTED', cause.message, { cause });
}
