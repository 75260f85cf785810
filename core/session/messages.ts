/**
 * The handshake messages as plain values, and what turns them into bytes. Their encoding is
 * Protobuf (proto/cvmp/v1/key.proto); core knows no stubs, so the codec is passed in
 * (wire/session.ts).
 */

/** First message of the agent. */
export interface ClientInit {
  readonly versions: readonly number[];
  /** Numbers of {@link suites}. */
  readonly suites: readonly number[];
  /** 32 bytes. */
  readonly nonceA: Uint8Array;
  /** Labels of the evidence that the agent can give. */
  readonly evidenceProfiles: readonly string[];
  readonly criticalExtensions: readonly string[];
  /** Signed checkpoints that the agent keeps, one of each Key Server. */
  readonly lastCheckpoints: readonly Uint8Array[];
}

/** Payload of the server's signed answer. */
export interface Challenge {
  /** 16 bytes. */
  readonly sessionId: Uint8Array;
  readonly version: number;
  readonly suite: number;
  /** 32 bytes. */
  readonly nonceK: Uint8Array;
  /** COSE_Key, encoded. */
  readonly ephK: Uint8Array;
  readonly requiredProfiles: readonly string[];
  /** Seconds since 1970, by the server's clock. */
  readonly notAfter: number;
  /** SHA-256 over the ClientInit bytes. */
  readonly hInit: Uint8Array;
  /** COSE_Key of the server's identity, encoded. */
  readonly ksKey: Uint8Array;
  /** Signed checkpoint of the server's log. */
  readonly checkpoint: Uint8Array;
  /** Consistency proof from the shown checkpoint of this server; empty where none was shown. */
  readonly consistencyPath: readonly Uint8Array[];
}

/** The agent's evidence for this session. */
export interface Evidence {
  /** COSE_Key, encoded. */
  readonly ephA: Uint8Array;
  /** Deterministic CBOR as the CVM holds it. */
  readonly configDocument: Uint8Array;
  readonly cmwCollection: Uint8Array;
  /** Informative. */
  readonly agentBuild: string;
  /** COSE_Key, encoded; empty: none. */
  readonly instanceKey: Uint8Array;
  /** COSE_Sign1 by it over the 64 bytes of the Binding; empty: none. */
  readonly instanceProof: Uint8Array;
}

/** Payload of the server's signed credential, where the evidence rests on an AK to activate. */
export interface CredentialChallenge {
  /** 16 bytes. */
  readonly sessionId: Uint8Array;
  /** TPM2B_ID_OBJECT. */
  readonly credentialBlob: Uint8Array;
  /** TPM2B_ENCRYPTED_SECRET. */
  readonly encryptedSecret: Uint8Array;
}

/** The agent's answer to a credential. */
export interface CredentialActivation {
  /** 32 bytes, see activationProof. */
  readonly proof: Uint8Array;
}

/** Payload of the server's signed acceptance. */
export interface SessionAccept {
  /** 16 bytes. */
  readonly sessionId: Uint8Array;
  /**
   * Digest over ClientInit, Challenge and Evidence as sent, and credential and activation where
   * there were any, by the suite's hash.
   */
  readonly transcript: Uint8Array;
}

export interface Codec<T> {
  encode(value: T): Uint8Array;
  /** @throws CvmpError MALFORMED, SIZE, INVALID_FIELD */
  decode(bytes: Uint8Array): T;
}

export interface SessionCodec {
  readonly clientInit: Codec<ClientInit>;
  readonly challenge: Codec<Challenge>;
  readonly evidence: Codec<Evidence>;
  readonly credential: Codec<CredentialChallenge>;
  readonly activation: Codec<CredentialActivation>;
  readonly accept: Codec<SessionAccept>;
}

/** `typ` of the signed messages. */
export const messageType = {
  challenge: 'application/cvmp-challenge+protobuf',
  credential: 'application/cvmp-credential+protobuf',
  accept: 'application/cvmp-session-accept+protobuf',
  instance: 'application/cvmp-instance',
} as const;

/** Largest frames, bytes. */
export const frameBytesMax = {
  clientInit: 4096,
  /** A consistency proof has up to 96 hashes. */
  challenge: 8192,
  evidence: 1_114_112,
  credential: 4096,
  activation: 256,
  accept: 4096,
  sealedToServer: 16_384,
  /** The first one carries the tenant's signed policy. */
  sealedToAgent: 1_048_576,
} as const;

/** Protocol versions that this code speaks. */
export const protocolVersions: readonly number[] = [1];
