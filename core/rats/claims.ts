import type { HashName } from '../crypto.js';

/**
 * What Evidence asserts (RFC 9334 s.4.2), in the terms that do not depend on its format. Each
 * format adds its own. A value of this type exists only after its evidence was verified.
 */
export interface Claims {
  /** Key of the format in policies and in the table of schemes: `snp`. */
  readonly format: string;
  /** True where the chain ends in a configured root that is no hardware vendor's. */
  readonly simulated: boolean;
  /**
   * What the Attester put into its evidence: the 64 bytes of a session's Binding or zero; where the
   * format holds less, their SHA-256 or SHA-384.
   */
  readonly reportData: Uint8Array;
  /** The field that the config document is bound by. */
  readonly configBinding: ConfigBinding;
  /** Measurement of what was launched: 48 bytes, in CCA as long as the realm's hash. */
  readonly launchMeasurement: Uint8Array;
  /** Names this running instance for its life, 32 bytes; undefined where the format has none. */
  readonly instanceId: Uint8Array | undefined;
  /** Names the chip; undefined where the evidence hides it. */
  readonly chipId: Uint8Array | undefined;
}

/** Digest over the config document, as the hardware reports it. */
export interface ConfigBinding {
  /** Name of the hardware's field, for messages. */
  readonly field: 'HOST_DATA' | 'MRCONFIGID' | 'PCR 15' | 'RPV' | 'EAR';
  readonly hash: HashName;
  readonly digest: Uint8Array;
}
