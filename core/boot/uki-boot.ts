import { CvmpError } from '../errors.js';
import { type PeImage, parsePe } from '../firmware/pe.js';
import { linuxStubEvents } from './linux.js';
import {
  applicationEvent,
  callingApplication,
  exitBootServices,
  type MeasuredEvent,
  separator,
} from './measured-event.js';
import { authorityEvent, type SecureBootSetup, secureBootEvents } from './secure-boot.js';
import {
  addonCmdlines,
  type BootPhase,
  phaseEvents,
  sectionContents,
  type Uki,
  type UkiParameters,
  ukiCmdline,
  ukiParameterEvents,
  ukiSectionEvents,
} from './uki.js';

/** Everything that a boot of a unified kernel image depends on. */
export interface UkiBootInputs {
  /** EFI applications that are started before it: a boot loader; none where firmware starts it. */
  readonly loaders: readonly PeImage[];
  readonly uki: Uki;
  readonly secureBoot: SecureBootSetup;
  /** Entries of db that admitted loaders and UKI, each once (see findAuthority). */
  readonly authorities: readonly Uint8Array[];
  /** The partition table that it is booted from (see gptEvent); undefined: PCR 5 is not predicted. */
  readonly partitionTable: MeasuredEvent | undefined;
  /** Whether the firmware measures the kernel inside too; undefined: as {@link measuresInnerKernel}. */
  readonly innerKernel: boolean | undefined;
  readonly parameters: UkiParameters;
  /** Which systemd-stub it is; undefined: what the image says, else the newest. */
  readonly stubVersion: number | undefined;
  /** How far the boot went; `none` where the initrd has no systemd-pcrphase. */
  readonly phase: BootPhase | 'none';
}

/** A register that cannot be foreseen, with the reason. */
export interface NotPredicted {
  readonly pcr: number;
  readonly why: string;
}

/** What a boot will measure, and what nobody can say. */
export interface Prediction {
  /** In the order in which each register gets them. */
  readonly events: readonly MeasuredEvent[];
  readonly notPredicted: readonly NotPredicted[];
}

/** From this version on systemd-stub loads the kernel by itself; the firmware does not see it. */
const ownLoaderSince = 258;

/**
 * True where systemd-stub asks the firmware to load the kernel inside the UKI, which measures it. With
 * Secure Boot the stub takes the check, and with it the measurement, upon itself.
 */
export function measuresInnerKernel(secureBoot: SecureBootSetup, stubVersion?: number): boolean {
  return secureBoot.state !== 'on' && (stubVersion ?? 0) < ownLoaderSince;
}

/**
 * Predicts PCRs 4, 5, 7, 9, 11 and 12 of a boot (TCG PFP; systemd-stub(7)). PCRs 0 to 3 and 6 hold
 * what firmware and virtual hardware are; they are not predicted.
 * @throws CvmpError MALFORMED where the kernel inside is no EFI application
 */
export function predictUkiBoot(inputs: UkiBootInputs): Prediction {
  const { secureBoot, authorities, partitionTable } = inputs;
  const kernel = kernelStubEvents(inputs);
  const notPredicted: NotPredicted[] = [];
  if (typeof kernel === 'string') notPredicted.push({ pcr: 9, why: kernel });
  if (partitionTable === undefined) {
    notPredicted.push({ pcr: 5, why: 'needs the partition table of the disk that it boots from' });
  }
  const events = [
    ...secureBootEvents(secureBoot),
    callingApplication,
    separator(4),
    ...(partitionTable === undefined ? [] : [separator(5), partitionTable]),
    ...applicationEvents(inputs),
    ...authorities.map(authorityEvent),
    ...ukiSectionEvents(inputs.uki, inputs.stubVersion),
    ...ukiParameterEvents(inputs.parameters),
    ...(typeof kernel === 'string' ? [] : kernel),
    ...(partitionTable === undefined ? [] : exitBootServices),
    ...phaseEvents(inputs.phase),
  ];
  return { events, notPredicted };
}

/** Loaders, the UKI, its addons, and the kernel inside where the firmware loads that too. */
export function applicationEvents(
  inputs: Pick<
    UkiBootInputs,
    'loaders' | 'uki' | 'secureBoot' | 'innerKernel' | 'parameters' | 'stubVersion'
  >,
): readonly MeasuredEvent[] {
  const { loaders, uki, secureBoot } = inputs;
  const inner =
    inputs.innerKernel ?? measuresInnerKernel(secureBoot, inputs.stubVersion ?? uki.stubVersion);
  return [
    ...loaders.map((image, i) => applicationEvent(`boot loader ${i + 1}`, image)),
    applicationEvent('unified kernel image', uki.image),
    ...inputs.parameters.addons.map((image, i) => applicationEvent(`addon ${i + 1}`, image)),
    ...(inner ? [applicationEvent('kernel inside of it', innerKernel(uki))] : []),
  ];
}

/** The kernel inside, as long as systemd-stub hands it to the firmware. */
function innerKernel(uki: Uki): PeImage {
  return parsePe(sectionContents(uki, '.linux')!);
}

/** From this version on systemd-stub always hands over files of its own as further initrds. */
const ownInitrdsSince = 256;

/** What the kernel measures into PCR 9, or why that cannot be foreseen. */
export function kernelStubEvents({
  uki,
  parameters,
  stubVersion = uki.stubVersion,
}: Pick<UkiBootInputs, 'uki' | 'parameters' | 'stubVersion'>): readonly MeasuredEvent[] | string {
  if (uki.sections.has('.pcrsig') || uki.sections.has('.pcrpkey')) {
    return 'systemd-stub adds PCR signatures or their key to the initrd';
  }
  if (stubVersion === undefined || stubVersion >= ownInitrdsSince) {
    return 'systemd-stub 256 and later adds files of its own to the initrd';
  }
  const cmdline = parameters.cmdline ?? ukiCmdline(uki);
  if (cmdline === undefined) {
    throw new CvmpError('MALFORMED', 'neither the UKI nor you name a command line', {
      field: 'cmdline',
    });
  }
  const whole = [cmdline, ...addonCmdlines(parameters.addons)].join(' ');
  return linuxStubEvents({ cmdline: whole, initrd: sectionContents(uki, '.initrd') });
}
