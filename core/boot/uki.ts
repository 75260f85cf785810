import { concat, fromUtf8, utf8 } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { utf16 } from '../eventlog/efi-variable.js';
import { eventType } from '../eventlog/event-types.js';
import { type PeImage, type PeSection, sectionInMemory } from '../firmware/pe.js';
import { type MeasuredEvent, measured } from './measured-event.js';

/** PCRs of systemd-stub (UAPI group, Linux TPM PCR Registry). */
export const ukiPcr = { image: 11, config: 12 } as const;

/**
 * Sections that systemd-stub measures, in the order in which it does, with the first version that
 * knows them. `.pcrsig` is never measured: it signs the result.
 */
const measuredSections: readonly (readonly [name: string, since: number])[] = [
  ['.linux', 0],
  ['.osrel', 0],
  ['.cmdline', 0],
  ['.initrd', 0],
  ['.ucode', 256],
  ['.splash', 0],
  ['.dtb', 0],
  ['.uname', 253],
  ['.sbat', 254],
  ['.pcrpkey', 252],
  ['.profile', 257],
  ['.dtbauto', 257],
  ['.hwids', 257],
  ['.efifw', 258],
];

/** Words that systemd-pcrphase extends PCR 11 by on the way (systemd-measure(1)). */
export const bootPhases = ['enter-initrd', 'leave-initrd', 'sysinit', 'ready'] as const;

export type BootPhase = (typeof bootPhases)[number];

/** A unified kernel image. */
export interface Uki {
  readonly image: PeImage;
  /** Major version of its systemd-stub; undefined where it does not say. */
  readonly stubVersion: number | undefined;
  /** By name, of the profile that is booted. */
  readonly sections: ReadonlyMap<string, PeSection>;
}

/**
 * Reads a unified kernel image (UAPI.5). Of an image of several profiles it takes one: what stands
 * before the first `.profile` holds for all, what follows the profile's own overrides it.
 * @throws CvmpError MALFORMED where it has no kernel, a section twice, or no such profile
 */
export function readUki(image: PeImage, profile = 0): Uki {
  const groups = image.sections.reduce<PeSection[][]>(
    (all, section) => {
      if (section.name === '.profile') all.push([]);
      all.at(-1)!.push(section);
      return all;
    },
    [[]],
  );
  const own = groups.length === 1 && profile === 0 ? [] : groups[profile + 1];
  if (own === undefined) throw malformed(`has no profile ${profile}`);
  const sections = new Map([...byName(groups[0]!), ...byName(own)]);
  if (!sections.has('.linux')) throw malformed('has no .linux section');
  return { image, stubVersion: stubVersionOf(sections.get('.sdmagic')), sections };
}

function byName(sections: readonly PeSection[]): ReadonlyMap<string, PeSection> {
  const map = new Map(sections.map((section) => [section.name, section]));
  if (map.size !== sections.length) throw malformed('has a section twice');
  return map;
}

/** `#### LoaderInfo: systemd-stub 252.39-1 ####` */
function stubVersionOf(section: PeSection | undefined): number | undefined {
  if (section === undefined) return undefined;
  const text = String.fromCharCode(...section.raw.subarray(0, 256));
  const version = /systemd-stub (\d{1,5})/.exec(text)?.[1];
  return version === undefined ? undefined : Number(version);
}

/** The contents of a section, or undefined. */
export function sectionContents(uki: Uki, name: string): Uint8Array | undefined {
  const section = uki.sections.get(name);
  return section === undefined ? undefined : concat(...sectionInMemory(section));
}

/**
 * Command line of its `.cmdline` section, as systemd-stub hands it to the kernel.
 * @throws CvmpError MALFORMED where it is not UTF-8
 */
export function ukiCmdline(uki: Uki): string | undefined {
  const bytes = sectionContents(uki, '.cmdline');
  return bytes && cmdlineText(bytes);
}

function cmdlineText(bytes: Uint8Array): string {
  return fromUtf8(bytes, '.cmdline').replace(/[\0\n ]+$/, '');
}

/**
 * What systemd-stub measures of its sections into PCR 11: name with NUL, then contents.
 * @param stubVersion decides which sections it knows; the newest where it is undefined
 */
export function ukiSectionEvents(
  uki: Uki,
  stubVersion: number | undefined = uki.stubVersion,
): readonly MeasuredEvent[] {
  return measuredSections.flatMap(([name, since]) => {
    const section = uki.sections.get(name);
    if (section === undefined || section.virtualSize === 0) return [];
    if (stubVersion !== undefined && stubVersion < since) return [];
    const event = (what: string, ...data: readonly Uint8Array[]) =>
      measured(ukiPcr.image, eventType.ipl, what, ...data);
    return [
      event(`name of ${name}`, utf8(`${name}\0`)),
      event(`${name} (${section.virtualSize} bytes)`, ...sectionInMemory(section)),
    ];
  });
}

/** The words up to and with a phase; `none`: nobody has said any. */
export function phaseEvents(last: BootPhase | 'none'): readonly MeasuredEvent[] {
  if (last === 'none') return [];
  return bootPhases
    .slice(0, bootPhases.indexOf(last) + 1)
    .map((phase) => measured(ukiPcr.image, eventType.ipl, `phase ${phase}`, utf8(phase)));
}

/** What comes to a UKI from outside of it. */
export interface UkiParameters {
  /** Command line in place of the image's; systemd-stub takes it only without Secure Boot. */
  readonly cmdline: string | undefined;
  /** Addons (`*.addon.efi`) that the firmware admits, in the order of their file names. */
  readonly addons: readonly PeImage[];
}

export const noParameters: UkiParameters = { cmdline: undefined, addons: [] };

/** Command lines that addons add. @throws CvmpError MALFORMED where one is not UTF-8 */
export function addonCmdlines(addons: readonly PeImage[]): readonly string[] {
  return addons.flatMap(({ sections }) => {
    const section = sections.find(({ name }) => name === '.cmdline');
    return section === undefined ? [] : [cmdlineText(concat(...sectionInMemory(section)))];
  });
}

/** PCR 12: stays zero for a UKI that nothing is added to. Credentials are not predicted. */
export function ukiParameterEvents(parameters: UkiParameters): readonly MeasuredEvent[] {
  const options = (what: string, text: string) =>
    measured(ukiPcr.config, eventType.ipl, what, utf16(`${text}\0`));
  const { cmdline, addons } = parameters;
  return [
    ...(cmdline === undefined ? [] : [options('command line from outside', cmdline)]),
    ...addonCmdlines(addons).map((text) => options('command line of an addon', text)),
  ];
}

function malformed(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the UKI ${why}`, { field: 'uki' });
}
