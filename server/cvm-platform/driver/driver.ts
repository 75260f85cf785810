import type { Duplex } from 'node:stream';

/** Kinds of Trusted Execution Environment. */
export type Tee = 'sev-snp' | 'tdx' | 'vtpm';

/** Components of an AMD TCB_VERSION (SEV-SNP ABI), each 0 to 255. */
export interface SnpTcb {
  readonly fmc: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

/** What a host can do for one kind of TEE; the feature answer is made from it (draft s.3.1). */
export interface TeeCapabilities {
  readonly tee: Tee;
  /** True where there is no hardware behind it. */
  readonly simulated: boolean;
  /** Product of the processor, for example `Genoa`. */
  readonly product: string;
  /** TCB of the host now, where `tee` is `sev-snp`. */
  readonly snpTcb?: SnpTcb;
  readonly secureBoot: {
    readonly supported: boolean;
    readonly tenantKeys: boolean;
    readonly varstoreMeasured: boolean;
  };
  /** `mechanism` is empty where it is not supported. */
  readonly liveMigration: { readonly supported: boolean; readonly mechanism: string };
  /** Formats of firmware that a tenant may bring; none: not supported. */
  readonly firmwareFormats: readonly string[];
  /** Names of BIOS settings that a tenant may set; none: not supported. */
  readonly biosSettings: readonly string[];
  /** Whether an ID block is honoured, and with it the guest's SVN. */
  readonly idBlock: boolean;
  /** Bytes of digest that bind the config document: 32 (HOST_DATA), 48 (MRCONFIGID), 0: none. */
  readonly configDigestBytes: number;
  readonly vmmType: string;
  /** CPU models that a guest can have; the first is the default. */
  readonly vcpuTypes: readonly string[];
}

/** Files to launch, with the SHA-256 that each had when it was chosen. */
export interface LaunchImage {
  /** SHA-256 over the deterministic CBOR of [firmware, kernel, initrd digests, cmdline]. */
  readonly imageDigest: Uint8Array;
  readonly firmware: ImageFile;
  readonly kernel: ImageFile;
  readonly initrd: ImageFile;
  readonly cmdline: string;
}

export interface ImageFile {
  readonly path: string;
  /** SHA-256, 32 bytes. */
  readonly digest: Uint8Array;
}

/** How a guest is launched, where its TEE is SEV-SNP. */
export interface SnpLaunch {
  /** Guest POLICY word. */
  readonly guestPolicy: bigint;
  /** ID block (96 bytes) and its authentication information (4096 bytes). */
  readonly id?: { readonly block: Uint8Array; readonly auth: Uint8Array };
}

/** Everything that a host needs to know of a CVM. */
export interface CvmDefinition {
  /** Letters, digits and `-`, at most 32 characters: drivers name files and sockets by it. */
  readonly cvmId: string;
  readonly tee: Tee;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly vcpuType: string;
  readonly image: LaunchImage;
  readonly snp: SnpLaunch;
  readonly secureBoot: boolean;
  readonly liveMigration: boolean;
  /** BIOS settings by name. */
  readonly bios: ReadonlyMap<string, string>;
  /** SVN of the guest, which its ID block says too; 0: none. */
  readonly svn: number;
  /** Bound by the hardware; opaque to the platform. */
  readonly configDocument: Uint8Array;
  /** `host:port`, a hint for the Key Agent. */
  readonly keyServerAddress: string;
  /** KeyID for the Key Agent, 16 bytes; a hint. */
  readonly keyId?: Uint8Array;
  readonly diskMib: number;
}

/** Everything that enters a launch measurement, and what it comes to. */
export interface LaunchPlan {
  readonly imageDigest: Uint8Array;
  readonly firmwareDigest: Uint8Array;
  readonly kernelDigest: Uint8Array;
  readonly initrdDigest: Uint8Array;
  readonly cmdline: string;
  readonly vcpus: number;
  readonly vcpuType: string;
  /** SEV_FEATURES of the VMSA. */
  readonly guestFeatures: bigint;
  readonly vmmType: string;
  readonly guestPolicy: bigint;
  /** Launch measurement as the host predicts it, 48 bytes. */
  readonly measurement: Uint8Array;
}

/** What a host sees of a CVM. */
export type HostState =
  | { readonly run: 'absent' | 'off' | 'running' }
  /** It ended by itself and not as it should; `reason` is for people. */
  | { readonly run: 'crashed'; readonly reason: string };

/**
 * A host that runs CVMs. CVMs outlive the driver object: closing it, or the death of the platform,
 * leaves them running, and a new driver over the same host finds them. Every operation may be
 * repeated: what is already so is no error. The contract is `test/contracts/driver.ts`.
 */
export interface HostDriver {
  /** What the host can do; it changes only with the host itself. */
  capabilities(): Promise<readonly TeeCapabilities[]>;

  /**
   * What enters the launch measurement of such a CVM, and the measurement.
   * @throws CvmpError FEATURE_UNSUPPORTED where the firmware cannot be launched
   */
  plan(definition: Omit<CvmDefinition, 'cvmId'>): Promise<LaunchPlan>;

  /**
   * Makes the CVM known to the host, with an empty disk; or puts another definition under one that
   * is not running and keeps its disk.
   * @throws CvmpError CVM_STATE where it is running, DRIVER
   */
  define(definition: CvmDefinition): Promise<void>;

  /**
   * Launches the CVM; resolves when it runs.
   * @throws CvmpError NOT_FOUND where it is not defined, LAUNCH_REFUSED, DRIVER
   */
  start(cvmId: string): Promise<void>;

  /**
   * Asks the guest to end; resolves when it has ended.
   * @param graceMs how long to wait for it
   * @returns false where it has not ended in time
   */
  shutdown(cvmId: string, graceMs: number): Promise<boolean>;

  /** Ends the CVM without asking it; its disk stays. */
  destroy(cvmId: string): Promise<void>;

  /** Removes the CVM and its disk, destroying it first where it runs. */
  undefine(cvmId: string): Promise<void>;

  /** What the host sees of the CVM now. */
  inspect(cvmId: string): Promise<HostState>;

  /**
   * Calls `listener` whenever what {@link inspect} says may have changed by itself.
   * @returns a function that ends it
   */
  watch(listener: (cvmId: string) => void): () => void;

  /**
   * Opens a byte stream to the Key Agent's GuestService in a running CVM. Failure to connect is an
   * `error` event of the stream.
   */
  guestChannel(cvmId: string): Duplex;

  /** Lets go of the host. CVMs go on. */
  close(): Promise<void>;
}
