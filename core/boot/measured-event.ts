import { crypto } from '#crypto';
import { utf8 } from '../bytes.js';
import { eventType } from '../eventlog/event-types.js';
import { type Bank, initialPcr } from '../eventlog/replay.js';
import { authenticodeDigest, type PeImage } from '../firmware/pe.js';

/** A measurement that a boot will make. */
export interface MeasuredEvent {
  /** By the TCG's map; a TDX guest has it in the RTMR of that PCR. */
  readonly pcr: number;
  /** Event type (TCG PFP 10.4.1). */
  readonly type: number;
  /** What is measured, for people. */
  readonly what: string;
  readonly digest: (bank: Bank) => Uint8Array;
}

/** An event whose digest is that of the given bytes. */
export function measured(
  pcr: number,
  type: number,
  what: string,
  ...data: readonly Uint8Array[]
): MeasuredEvent {
  return { pcr, type, what, digest: (bank) => crypto.hash(bank, ...data) };
}

/** The value of a register that starts with zeros, after these events. */
export function extendAll(events: readonly MeasuredEvent[], bank: Bank): Uint8Array {
  return events.reduce(
    (value, event) => crypto.hash(bank, value, event.digest(bank)),
    initialPcr(1, bank),
  );
}

/** The end of what firmware measures before it starts anything (TCG PFP 2.3.4). */
export function separator(pcr: number): MeasuredEvent {
  return measured(pcr, eventType.separator, 'separator', new Uint8Array(4));
}

/** A fixed text that firmware measures when it does something. */
export function efiAction(pcr: number, text: string): MeasuredEvent {
  return measured(pcr, eventType.efiAction, text, utf8(text));
}

/** Boot manager: a boot option is about to be started. */
export const callingApplication = efiAction(4, 'Calling EFI Application from Boot Option');

/** The kernel takes over from the firmware. */
export const exitBootServices: readonly MeasuredEvent[] = [
  efiAction(5, 'Exit Boot Services Invocation'),
  efiAction(5, 'Exit Boot Services Returned with Success'),
];

/** A boot variable; EDK II measures its data alone (EV_EFI_VARIABLE_BOOT). */
export function bootVariable(name: string, data: Uint8Array): MeasuredEvent {
  return measured(1, 0x80000002, `variable ${name}`, data);
}

/** PCR 4: an image that the firmware loads. */
export function applicationEvent(what: string, image: PeImage): MeasuredEvent {
  const digest = (bank: Bank) => authenticodeDigest(image, bank);
  return { pcr: 4, type: eventType.efiBootServicesApplication, what, digest };
}
