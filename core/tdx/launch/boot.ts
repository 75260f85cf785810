import { kernelImageEvent, linuxStubEvents, qemuPatchedKernel } from '../../boot/linux.js';
import {
  bootVariable,
  callingApplication,
  exitBootServices,
  extendAll,
  type MeasuredEvent,
  measured,
  separator,
} from '../../boot/measured-event.js';
import { authorityEvent, type SecureBootSetup, secureBootEvents } from '../../boot/secure-boot.js';
import { ukiParameterEvents, ukiSectionEvents } from '../../boot/uki.js';
import { applicationEvents, kernelStubEvents, type UkiBootInputs } from '../../boot/uki-boot.js';
import { lowMemory, tdHob } from './td-hob.js';
import { type TdvfSection, tdvfSectionType } from './tdvf.js';

/** ACPI tables as QEMU hands them to the firmware (fw_cfg files below `etc/`). */
export interface AcpiTables {
  /** `etc/table-loader` */
  readonly loader: Uint8Array;
  /** `etc/acpi/rsdp` */
  readonly rsdp: Uint8Array;
  /** `etc/acpi/tables` */
  readonly tables: Uint8Array;
}

/** A boot variable and its value. */
export interface BootVariable {
  /** `BootOrder`, `Boot0000` */
  readonly name: string;
  readonly data: Uint8Array;
}

/** `qemu -kernel`: the firmware starts a kernel that the hypervisor hands it. */
export interface DirectBoot {
  readonly kind: 'direct';
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  readonly cmdline: string;
  /** True where QEMU writes into the kernel's setup header (see qemuPatchedKernel). */
  readonly patched: boolean;
}

/** A unified kernel image on a disk. */
export interface UkiBoot
  extends Pick<
    UkiBootInputs,
    'loaders' | 'uki' | 'partitionTable' | 'innerKernel' | 'parameters' | 'stubVersion'
  > {
  readonly kind: 'uki';
}

/** Everything that the RTMRs of a boot depend on. */
export interface TdxBootInputs {
  /** Of the firmware (see parseTdvf). */
  readonly sections: readonly TdvfSection[];
  /**
   * Bytes of memory of a QEMU q35 guest; or the TD HOB as another hypervisor writes it; undefined:
   * RTMR0 is not predicted.
   */
  readonly memory: number | { readonly tdHob: Uint8Array } | undefined;
  readonly secureBoot: SecureBootSetup;
  readonly authorities: readonly Uint8Array[];
  /** They depend on every device of the guest; undefined: RTMR0 is not predicted. */
  readonly acpi: AcpiTables | undefined;
  /** In the order in which the firmware reads them. */
  readonly bootVariables: readonly BootVariable[];
  /** Undefined: RTMR1 and RTMR2 are not predicted. */
  readonly boot: DirectBoot | UkiBoot | undefined;
}

/** An RTMR as it will be, or why nobody can say. */
export type PredictedRtmr =
  | { readonly value: Uint8Array; readonly events: readonly MeasuredEvent[] }
  | { readonly why: string };

type Events = readonly MeasuredEvent[] | string;

const configFlags = 0x0000000a;
const firmwareBlob2 = 0x8000000a;
const handoffTables2 = 0x8000000b;

/**
 * Predicts RTMR0 to RTMR2 of a boot with OVMF under QEMU (UEFI 38.4.1; OvmfPkg TdTcg2Dxe). RTMR3 is
 * zero until somebody in the guest extends it.
 * @throws CvmpError MALFORMED, USAGE
 */
export function predictRtmrs(inputs: TdxBootInputs): readonly PredictedRtmr[] {
  const { boot } = inputs;
  const noBoot = 'needs a kernel or a unified kernel image';
  return [
    firmwareEvents(inputs),
    boot === undefined ? noBoot : loaderEvents(boot, inputs),
    boot === undefined ? noBoot : kernelEvents(boot),
  ].map((events) =>
    typeof events === 'string' ? { why: events } : { value: extendAll(events, 'sha384'), events },
  );
}

/** RTMR0: what the hypervisor configures. */
function firmwareEvents(inputs: TdxBootInputs): Events {
  const { acpi, sections, memory, authorities } = inputs;
  if (memory === undefined) return 'needs the memory of the guest, or its TD HOB';
  if (acpi === undefined) return 'needs the ACPI tables that the hypervisor makes for this guest';
  const hob = typeof memory === 'number' ? tdHob(sections, memory) : memory.tdHob;
  return [
    measured(1, handoffTables2, `TD HOB (${hob.length} bytes)`, hob),
    ...sections
      .filter(({ type }) => type === tdvfSectionType.cfv)
      .map(({ contents }) =>
        measured(1, firmwareBlob2, `CFV (${contents.length} bytes)`, contents),
      ),
    ...secureBootEvents(inputs.secureBoot),
    measured(1, configFlags, 'ACPI table loader', acpi.loader),
    measured(1, configFlags, 'ACPI RSDP', acpi.rsdp),
    measured(1, configFlags, 'ACPI tables', acpi.tables),
    ...inputs.bootVariables.map(({ name, data }) => bootVariable(name, data)),
    ...authorities.map(authorityEvent),
  ];
}

/** RTMR1: what is started. A kernel of the hypervisor is loaded before the boot manager runs. */
function loaderEvents(boot: DirectBoot | UkiBoot, { memory, secureBoot }: TdxBootInputs): Events {
  if (boot.kind === 'uki') {
    const { partitionTable } = boot;
    if (partitionTable === undefined) {
      return 'needs the partition table of the disk that it boots from';
    }
    const applications = applicationEvents({ ...boot, secureBoot });
    const started = [callingApplication, separator(4), partitionTable, ...applications];
    return [...started, ...exitBootServices];
  }
  const { kernel, initrd, patched } = boot;
  if (patched && typeof memory !== 'number') {
    return 'needs the memory of the guest: QEMU writes into the kernel where it put the initrd';
  }
  const handed =
    patched && typeof memory === 'number'
      ? qemuPatchedKernel(kernel, initrd?.length ?? 0, lowMemory(memory))
      : kernel;
  return [kernelImageEvent(handed), callingApplication, separator(4), ...exitBootServices];
}

/** From this version on systemd-stub measures where there is no TPM but the interface of a TD. */
const stubMeasuresSince = 255;
/** OVMF hands the initrd over as a file of this name. */
const initrdOption = ' initrd=initrd';

/** RTMR2: what stub and kernel are given. */
function kernelEvents(boot: DirectBoot | UkiBoot): Events {
  if (boot.kind === 'direct') {
    const { cmdline, initrd } = boot;
    const whole = initrd === undefined ? cmdline : `${cmdline}${initrdOption}`;
    return linuxStubEvents({ cmdline: whole, initrd });
  }
  const version = boot.stubVersion ?? boot.uki.stubVersion;
  const kernel = kernelStubEvents(boot);
  if (typeof kernel === 'string') return kernel;
  if (version !== undefined && version < stubMeasuresSince) return kernel;
  return [
    ...ukiSectionEvents(boot.uki, version),
    ...ukiParameterEvents(boot.parameters),
    ...kernel,
  ];
}
