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
  /** Absent where the evidence counts no starts. */
  readonly bootCounts?: BootCounts | undefined;
}

/** How often a TPM was started, as it says under one AK; 0 to 2^32 - 1 each. */
export interface BootCounts {
  /** Names the AK: SHA-256 over its SubjectPublicKeyInfo (32 bytes). */
  readonly signer: Uint8Array;
  /** resetCount of TPMS_CLOCK_INFO. */
  readonly resets: number;
  /** restartCount: since the last reset. */
  readonly restarts: number;
}

/**
 * Whether counts of one AK went back (protocol.md s.4 step 7): the TPM's state is an older one, put
 * back by who keeps it. A TPM adds a number of the AK's own to each (TPM 2.0 Part 1, 36.7), so that
 * only differences mean something, and those wrap around.
 */
export function wentBack(before: BootCounts, now: BootCounts): boolean {
  const isBehind = (a: number, b: number) => (a - b) >>> 0 >= 0x8000_0000;
  if (now.resets !== before.resets) return isBehind(now.resets, before.resets);
  return isBehind(now.restarts, before.restarts);
}

/** Digest over the config document, as the hardware reports it. */
export interface ConfigBinding {
  /** Name of the hardware's field, for messages. */
  readonly field: 'HOST_DATA' | 'MRCONFIGID' | 'PCR 15' | 'RPV' | 'EAR';
  readonly hash: HashName;
  readonly digest: Uint8Array;
}
