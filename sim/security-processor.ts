import { equalBytes } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import { CvmpError } from '#core/errors.js';
import { parseIdBlock, verifyIdBlock } from '#core/snp/launch/id-block.js';
import { type LaunchInputs, launchMeasurement } from '#core/snp/launch/measure.js';
import { guestPolicyBits, guestPolicyKnown, platformInfoBits } from '#core/snp/layout.js';
import { encodeTcb, type SnpProduct, type SnpTcb } from '#core/snp/product.js';
import { crypto } from '#crypto';
import { SimulatedAuthority } from './authority.js';
import { chipSecretLength, productCpuid, productTcb, SimulatedChip } from './chip.js';
import { type LaunchedGuest, SimulatedGuest } from './guest.js';
import type { ReportValues } from './report.js';

/** How a guest is launched (SNP_LAUNCH_START, SNP_LAUNCH_UPDATE, SNP_LAUNCH_FINISH). */
export interface GuestLaunch {
  readonly inputs: LaunchInputs;
  /** Guest POLICY. */
  readonly guestPolicy: bigint;
  /** HOST_DATA, 32 bytes. */
  readonly hostData: Uint8Array;
  /** 96 bytes, with `idAuth`. */
  readonly idBlock?: Uint8Array | undefined;
  /** 4096 bytes, with `idBlock`. */
  readonly idAuth?: Uint8Array | undefined;
  /** Report id of the migration agent, 32 bytes; the guest policy must have MIGRATE_MA. */
  readonly migrationAgent?: Uint8Array | undefined;
}

/** What a host can set on its processor. */
export interface ProcessorSettings {
  /** Version of reports, 2 to 5. */
  readonly reportVersion: number;
  /** CURRENT_TCB and, but for `reportedTcb`, every other. */
  readonly tcb: SnpTcb;
  /** REPORTED_TCB, where the host lowered it. */
  readonly reportedTcb: SnpTcb | undefined;
  readonly platformInfo: bigint;
  readonly firmware: { readonly major: number; readonly minor: number; readonly build: number };
  readonly mitigationVector: bigint;
  /** Sign with the VLEK of this cloud provider in place of the VCEK. */
  readonly cspId: string | undefined;
  /** Revocation lists that the host adds to the certificates of a report. */
  readonly crls: readonly Uint8Array[];
}

/** SMT, ECC, alias check complete. */
const defaultPlatformInfo =
  platformInfoBits.SMT_EN | platformInfoBits.ECC_EN | platformInfoBits.ALIAS_CHECK_COMPLETE;

/**
 * A simulated AMD security processor: launches guests by their true launch digest and signs reports in
 * the true format with keys of a root of its own (protocol.md s.0.5). There is no second code path
 * behind it: what verifies real evidence verifies this, where the root is pinned.
 */
export class SecurityProcessor {
  readonly chip: SimulatedChip;
  readonly #secret: Uint8Array;
  #settings: ProcessorSettings;

  private constructor(authority: SimulatedAuthority, secret: Uint8Array, now: () => number) {
    this.#secret = secret;
    this.chip = new SimulatedChip(authority, secret, now);
    this.#settings = {
      reportVersion: 5,
      tcb: productTcb[authority.product],
      reportedTcb: undefined,
      platformInfo: defaultPlatformInfo,
      firmware: { major: 1, minor: 55, build: 49 },
      mitigationVector: 0x0bn,
      cspId: undefined,
      crls: [],
    };
  }

  /** A new chip of this vendor. @param now milliseconds since 1970, for the dates of certificates */
  static create(authority: SimulatedAuthority, now: () => number): SecurityProcessor {
    return new SecurityProcessor(authority, crypto.randomBytes(chipSecretLength), now);
  }

  /**
   * The chip and the vendor that {@link export} wrote.
   * @throws CvmpError MALFORMED, NOT_CANONICAL
   */
  static restore(exported: Uint8Array, now: () => number): SecurityProcessor {
    return decodeMap(exported, 'processor', (m) => {
      const authority = SimulatedAuthority.restore(m.bytes(1, 'authority'));
      const secret = m.bytes(2, 'secret', { length: chipSecretLength });
      return new SecurityProcessor(authority, secret, now);
    });
  }

  /** Vendor keys and chip secret as deterministic CBOR; the settings start anew. */
  export(): Uint8Array {
    return encode(
      new Map([
        [1, this.chip.authority.export()],
        [2, this.#secret],
      ]),
    );
  }

  get product(): SnpProduct {
    return this.chip.product;
  }

  get settings(): ProcessorSettings {
    return this.#settings;
  }

  /** Changes settings from now on; a new TCB is a firmware update with commit. */
  configure(settings: Partial<ProcessorSettings>): void {
    this.#settings = { ...this.#settings, ...settings };
  }

  /**
   * Launches a guest.
   * @throws CvmpError LAUNCH_REFUSED, with what was wrong as its cause
   */
  async launch(launch: GuestLaunch): Promise<SimulatedGuest> {
    const { guestPolicy, hostData } = launch;
    if (hostData.length !== 32) throw refused('HOST_DATA has 32 bytes');
    this.#requirePolicy(guestPolicy);
    const { migrationAgent } = launch;
    if (migrationAgent !== undefined && (guestPolicy & guestPolicyBits.MIGRATE_MA) === 0n) {
      throw refused('the guest policy forbids a migration agent');
    }
    let measurement: Uint8Array;
    try {
      measurement = launchMeasurement(launch.inputs);
    } catch (cause) {
      throw refused('the launch inputs cannot be measured', cause);
    }
    const guest: LaunchedGuest = {
      measurement,
      guestPolicy,
      hostData,
      reportId: crypto.randomBytes(32),
      launchTcb: this.#settings.tcb,
      launchMitigations: this.#settings.mitigationVector,
      migrationAgent,
      ...(await identity(launch, measurement)),
    };
    return new SimulatedGuest(guest, this);
  }

  /** Stops a guest whose policy this platform cannot keep, as SNP_LAUNCH_START does. */
  #requirePolicy(guestPolicy: bigint): void {
    const has = (bit: bigint) => (guestPolicy & bit) !== 0n;
    if (!has(guestPolicyBits.RESERVED_ONE)) throw refused('bit 17 of the guest policy is not one');
    if ((guestPolicy & ~guestPolicyKnown) !== 0n) throw refused('guest policy has reserved bits');
    const { platformInfo, firmware } = this.#settings;
    if (!has(guestPolicyBits.SMT) && (platformInfo & platformInfoBits.SMT_EN) !== 0n) {
      throw refused('the guest policy forbids SMT, which is on');
    }
    const [minor, major] = [Number(guestPolicy & 0xffn), Number((guestPolicy >> 8n) & 0xffn)];
    if (major > firmware.major || (major === firmware.major && minor > firmware.minor)) {
      throw refused(`the guest policy asks for firmware ${major}.${minor}`);
    }
  }

  /** Fields of every report of this processor now. */
  platformValues(): ReportValues {
    const { product, chip } = this;
    const { reportVersion, tcb, reportedTcb, platformInfo, firmware, cspId } = this.#settings;
    const cpuid = productCpuid[product];
    return {
      VERSION: reportVersion,
      SIGNATURE_ALGO: 1,
      CURRENT_TCB: encodeTcb(product, tcb),
      PLATFORM_INFO: platformInfo,
      REPORTED_TCB: encodeTcb(product, reportedTcb ?? tcb),
      CPUID_FAM_ID: cpuid.family,
      CPUID_MOD_ID: cpuid.model,
      CPUID_STEP: cpuid.stepping,
      CHIP_ID: cspId === undefined ? chip.chipId : new Uint8Array(64),
      COMMITTED_TCB: encodeTcb(product, tcb),
      CURRENT_BUILD: firmware.build,
      CURRENT_MINOR: firmware.minor,
      CURRENT_MAJOR: firmware.major,
      COMMITTED_BUILD: firmware.build,
      COMMITTED_MINOR: firmware.minor,
      COMMITTED_MAJOR: firmware.major,
      CURRENT_MIT_VECTOR: this.#settings.mitigationVector,
    };
  }
}

type Identity = Pick<
  LaunchedGuest,
  'guestSvn' | 'familyId' | 'imageId' | 'idKeyDigest' | 'authorKeyDigest'
>;

/** What an ID block adds; stops a guest that is not the one its owner signed. */
async function identity(
  { idBlock, idAuth, guestPolicy }: GuestLaunch,
  measurement: Uint8Array,
): Promise<Identity> {
  if (idBlock === undefined || idAuth === undefined) {
    if (idBlock !== idAuth) throw refused('an ID block needs its authentication, and the reverse');
    return {
      guestSvn: 0,
      familyId: new Uint8Array(16),
      imageId: new Uint8Array(16),
      idKeyDigest: new Uint8Array(48),
      authorKeyDigest: undefined,
    };
  }
  try {
    const signers = await verifyIdBlock(idBlock, idAuth);
    const block = parseIdBlock(idBlock);
    if (!equalBytes(block.measurement, measurement))
      throw refused('the ID block is of another image');
    if (block.guestPolicy !== guestPolicy) throw refused('the ID block has another guest policy');
    const { guestSvn, familyId, imageId } = block;
    return { guestSvn, familyId, imageId, ...signers };
  } catch (cause) {
    if (cause instanceof CvmpError && cause.code === 'LAUNCH_REFUSED') throw cause;
    throw refused('the ID block does not verify', cause);
  }
}

function refused(why: string, cause?: unknown): CvmpError {
  return new CvmpError('LAUNCH_REFUSED', why, cause === undefined ? {} : { cause });
}
