import type { CallContext, KeyInfo } from '../release/contract.js';

/** A change of a key that its tenant asks for. */
export interface KeyOrder {
  readonly tenantId: string;
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  /** 16 bytes; repeated with the same order it changes nothing more (24 h). */
  readonly requestId: Uint8Array;
  /** undefined: whatever the revision is. */
  readonly expectedRevision: number | undefined;
  readonly call: CallContext;
}

/** A key that is gone. Times are milliseconds since the epoch. */
export interface Tombstone extends KeyInfo {
  /** SHA-256 of the signed order. */
  readonly orderDigest: Uint8Array;
  readonly ordered: number;
  /** Position in the log of the record of its destruction; undefined: it must be looked for. */
  readonly logIndex: number | undefined;
}

/**
 * What tenants do to their keys (protocol.md s.6.9). Every method gives the key as it is then, and
 * throws CvmpError NOT_FOUND, CAS_MISMATCH, IDEMPOTENCY_MISMATCH, KEY_* beside what it says.
 */
export interface KeyAdmin {
  suspend(order: KeyOrder): Promise<KeyInfo>;
  resume(order: KeyOrder): Promise<KeyInfo>;
  /** For the next other instance; the one that has it is refused from now on. */
  takeOver(order: KeyOrder): Promise<KeyInfo>;
  markCompromised(order: KeyOrder): Promise<KeyInfo>;
  /** @throws CvmpError QUOTA */
  rotate(order: KeyOrder & { readonly agentsRetireEpochs: boolean }): Promise<KeyInfo>;
  /** @throws CvmpError INVALID_FIELD */
  retireEpochs(order: KeyOrder & { readonly below: number }): Promise<KeyInfo>;
  /**
   * @param signed COSE_Sign1 or COSE_Sign of a KeyDestructionOrder
   * @throws CvmpError QUORUM, SIGNATURE_INVALID, MALFORMED, INVALID_FIELD
   */
  destroy(tenantId: string, signed: Uint8Array, call: CallContext): Promise<KeyInfo>;
  cancelDestroy(order: KeyOrder): Promise<KeyInfo>;
  /** Destroys what is due. The server does so by itself; this is for who cannot wait. */
  runDue(): Promise<void>;
  /** When the vault was last copied; undefined: never. */
  readonly vaultCopied: number | undefined;
  /** @throws CvmpError KEY_STATE where one of them is not destroyed */
  tombstones(tenantId: string, keyIds: readonly Uint8Array[]): Promise<readonly Tombstone[]>;
}
