import { encode } from '#core/cbor/encode.js';
import { crypto } from '#crypto';
import type { AgentConfig } from '../config.js';
import type { TsmConfig } from '../config-attester.js';
import { passportAttester } from './passport.js';
import { openSvsmAttester } from './svsm-attester.js';
import type { MeasuredTpm } from './tpm/quote.js';
import { openTpmAttester, withMeasuredTpm } from './tpm-attester.js';
import type { TsmFileOps } from './tsm.js';
import { openTsmAttester } from './tsm-attester.js';
import { fileSystemTsm } from './tsm-fs.js';
import { socketTsm } from './tsm-socket.js';

/** Makes evidence of this CVM. */
export interface Attester {
  /** Labels of the evidence that it makes. */
  readonly profiles: readonly string[];
  /**
   * @param reportData 64 bytes that the report is to be made over
   * @returns CMW collection
   * @throws CvmpError CONFIG_MISMATCH, TSM_UNAVAILABLE, TSM_BUSY, TPM_UNAVAILABLE
   */
  evidence(reportData: Uint8Array): Promise<Uint8Array>;
  /**
   * TPM2_ActivateCredential by the TPM of the evidence: opens what a verifier sealed to its EK, and
   * so proves that it holds the AK. Absent where the evidence has no such TPM.
   * @param credentialBlob TPM2B_ID_OBJECT
   * @param encryptedSecret TPM2B_ENCRYPTED_SECRET
   * @returns the secret; the caller's to zeroise
   * @throws CvmpError AK_UNTRUSTED where it is a credential for other keys, TPM_UNAVAILABLE
   */
  activateCredential?(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
  /** What makes evidence of this CVM itself, where a result of a verifier is shown instead. */
  readonly hardware?: Attester;
  close(): void | Promise<void>;
}

export interface AttesterOptions {
  /** Every report must bind this document. */
  readonly configDocument: Uint8Array;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly sleep: (ms: number) => Promise<void>;
  /** Milliseconds that only go forward; asked where results of a verifier are used again. */
  readonly monotonic?: () => number;
}

/** The file operations that the configuration names. */
function openTsm(config: TsmConfig): TsmFileOps {
  return config.kind === 'socket' ? socketTsm(config.path) : fileSystemTsm(config.path);
}

/**
 * The attester that the configuration asks for.
 * @throws CvmpError as {@link Attester.evidence}
 */
export async function openAttester(
  config: Pick<AgentConfig, 'tsm' | 'tpm' | 'stateDir'> & Partial<Pick<AgentConfig, 'ear'>>,
  options: AttesterOptions,
): Promise<Attester> {
  const hardware = await openHardware(config, options);
  if (config.ear === undefined) return hardware;
  const { configDocument, monotonic } = options;
  if (monotonic === undefined) throw new TypeError('results of a verifier need a clock');
  return passportAttester(hardware, config.ear, { configDocument, monotonic });
}

async function openHardware(
  { tsm, tpm, stateDir }: Pick<AgentConfig, 'tsm' | 'tpm' | 'stateDir'>,
  options: AttesterOptions,
): Promise<Attester> {
  if (tsm === undefined) return openTpmAttester(tpm!, stateDir, options);
  const files = openTsm(tsm);
  try {
    if (tsm.service === undefined) return await openTsmAttester(files, tsm, options);
    const open = (measured?: MeasuredTpm) => openSvsmAttester(files, tsm, options, measured);
    return await (tpm === undefined ? open() : withMeasuredTpm(tpm, stateDir, options, open));
  } catch (error) {
    files.close();
    throw error;
  }
}

/** What makes evidence of this CVM itself: for its own eyes, and for a tenant that verifies it. */
export function hardwareOf(attester: Attester): Attester {
  return attester.hardware ?? attester;
}

/**
 * The agent's first act: what it believes must be what the hardware says, before it talks to
 * anyone. The report stays here; a label of its own makes it worthless elsewhere.
 * @throws CvmpError as {@link Attester.evidence}
 */
export async function checkOwnReport(
  attester: Attester,
  randomBytes: (length: number) => Uint8Array,
): Promise<void> {
  const reportData = crypto.hash('sha512', encode(['CVMP/1 self-check', randomBytes(32)]));
  await hardwareOf(attester).evidence(reportData);
}
