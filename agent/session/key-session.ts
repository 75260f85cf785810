import type { CvmpError, ErrorCode } from '#core/errors.js';

/** Why a key is fetched; for the Key Server's audit record. */
export type AcquireReason = 'boot' | 'rekey' | 'migrate';

/** What the appraisal gave this session. */
export interface Grant {
  /** Highest SVN level that the evidence proves. */
  readonly level: number;
  /** After this the agent must attest again; milliseconds since 1970. */
  readonly leaseExpires: number;
  /** The Keying Policy as its tenant signed it (COSE_Sign1). */
  readonly signedPolicy: Uint8Array;
  /** COSE_Key of the tenant that the config document anchors. */
  readonly tenantKey: Uint8Array;
  /** The tenant's signed words for its next keys, of which the last signed the policy. */
  readonly keyRotations: readonly Uint8Array[];
  /** The evidence came from simulated hardware. */
  readonly simulated: boolean;
}

/** A Security Key as released, its key check value found right. The receiver zeroises `key`. */
export interface ReleasedKey {
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  /** 16 to 64 bytes. */
  readonly key: Uint8Array;
  readonly svn: number;
  /** Generation of the root key. */
  readonly epoch: number;
  /** Key check value, 8 bytes. */
  readonly kcv: Uint8Array;
  /** Floor of the key: agents below it get nothing. */
  readonly svnFloor: number;
}

/** A Security Key that was fetched by its KeyID. */
export interface AcquiredKey extends ReleasedKey {
  readonly level: number;
  /** Floor or level lie above this key's SVN, or its epoch is not the newest or compromised. */
  readonly rekeyAdvised: boolean;
  /** SVN that the disk should have, of the newest epoch. */
  readonly rekeySvn: number;
}

export interface AllocRequest {
  /** The same for every attempt to make one and the same key: repeated, it makes no second one. */
  readonly requestId: Uint8Array;
  /** Re-allocate from the root key of this KeyID; undefined: a new key. */
  readonly keyId: Uint8Array | undefined;
  readonly purpose: 'disk' | 'data';
}

/** What the Key Server tells without having been asked (NoticeKind of proto/cvmp/v1/key.proto). */
export interface Notice {
  readonly kind:
    | 'policy changed'
    | 'reattest required'
    | 'key suspended'
    | 'key resumed'
    | 'key destroyed'
    | 'key taken over'
    | 'rekey advised'
    | 'shutting down';
  /** The key that it is about, 16 bytes; undefined where it is about no key. */
  readonly keyId: Uint8Array | undefined;
  /** Of a policy: level that this session proves under it; 0: none. */
  readonly level: number;
  /** Of a policy: its floor. */
  readonly svnFloor: number;
  /** What requests are now refused with; undefined: they are not. */
  readonly code: ErrorCode | undefined;
}

/**
 * An attested session with the Key Server (protocol.md s.6.3). Requests may be made side by side.
 * Every method rejects with CvmpError: UNAVAILABLE where the stream is lost, a code of the Key
 * Server where it refuses, KCV_MISMATCH where it answers with another key than it says.
 */
export interface KeySession {
  /** Of the last attestation. */
  readonly grant: Grant;
  /** Resolves once the session can be asked no more, with the reason. */
  readonly ended: Promise<CvmpError>;
  alloc(request: AllocRequest): Promise<ReleasedKey>;
  /** @param svn undefined: the floor of the key; @param epoch undefined: the newest */
  acquire(
    keyId: Uint8Array,
    svn: number | undefined,
    reason: AcquireReason,
    epoch?: number,
  ): Promise<AcquiredKey>;
  /** Raises the floor; `retireBelow`: serve nothing below this any more. */
  update(
    keyId: Uint8Array,
    targetSvn: number,
    retireBelow: { readonly svn: number; readonly epoch: number } | undefined,
  ): Promise<void>;
  /** Says that a key is in use; again and again, if need be. */
  confirm(key: Pick<ReleasedKey, 'keyId' | 'svn' | 'epoch' | 'kcv'>): Promise<void>;
  /**
   * Attests again on the same stream: fresh evidence, new keys. Requests under way are answered;
   * those made meanwhile wait. Called twice at once it is done once. A refusal ends the session.
   * @returns the new grant, held against the config document
   */
  reattest(): Promise<Grant>;
  /**
   * Hands over each notice, from the first of the session on, in their order. One listener.
   * @param listener must not throw
   */
  onNotice(listener: (notice: Notice) => void): void;
  close(): void;
}
