import { createHash } from 'node:crypto';
import { concat, fromHex, utf8 } from '#core/bytes.js';
import {
  efiGlobalVariable,
  efiImageSecurityDatabase,
  signatureType,
} from '#core/eventlog/efi-variable.js';
import { eventType } from '#core/eventlog/event-types.js';

// Crypto-agile event logs of any content, and the events that firmware makes of Secure Boot.

export interface FakeEvent {
  readonly register: number;
  readonly type: number;
  readonly data: Uint8Array;
  /** What was measured where it is not the data. */
  readonly measured?: Uint8Array;
}

const ids = { sha1: 4, sha256: 11, sha384: 12 } as const;
export type LogBank = keyof typeof ids;
const lengths = { sha1: 20, sha256: 32, sha384: 48 } as const;

const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const u32 = (value: number) => {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
};
const u64 = (value: number) => concat(u32(value), u32(0));

export const digest = (bank: LogBank, ...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash(bank);
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

export function eventLog(
  events: readonly FakeEvent[],
  banks: readonly LogBank[] = ['sha1', 'sha256'],
): Uint8Array {
  const header = concat(
    utf8('Spec ID Event03\0'),
    u32(0),
    Uint8Array.of(0, 2, 0, 2),
    u32(banks.length),
    ...banks.flatMap((bank) => [u16(ids[bank]), u16(lengths[bank])]),
    Uint8Array.of(0),
  );
  return concat(
    u32(0),
    u32(eventType.noAction),
    new Uint8Array(20),
    u32(header.length),
    header,
    ...events.map((event) => encodeEvent(event, banks)),
  );
}

function encodeEvent(event: FakeEvent, banks: readonly LogBank[]): Uint8Array {
  const measured = event.measured ?? event.data;
  const isExtended = event.type !== eventType.noAction;
  return concat(
    u32(event.register),
    u32(event.type),
    u32(banks.length),
    ...banks.flatMap((bank) => [
      u16(ids[bank]),
      isExtended ? digest(bank, measured) : new Uint8Array(lengths[bank]),
    ]),
    u32(event.data.length),
    event.data,
  );
}

/** PCR values that a TPM holds after these events. */
export function pcrsAfter(
  events: readonly FakeEvent[],
  bank: LogBank = 'sha256',
  count = 24,
): Map<number, Uint8Array> {
  const pcrs = new Map<number, Uint8Array>();
  for (let pcr = 0; pcr < count; pcr++) {
    const isDynamic = pcr >= 17 && pcr <= 22;
    pcrs.set(pcr, new Uint8Array(lengths[bank]).fill(isDynamic ? 0xff : 0));
  }
  for (const { register, type, data, measured } of events) {
    const before = pcrs.get(register);
    if (type === eventType.noAction || before === undefined) continue;
    pcrs.set(register, digest(bank, before, digest(bank, measured ?? data)));
  }
  return pcrs;
}

const guidBytes = (guid: string) => {
  const [a, b, c, d, e] = guid.split('-') as [string, string, string, string, string];
  return concat(
    fromHex(a).reverse(),
    fromHex(b).reverse(),
    fromHex(c).reverse(),
    fromHex(d),
    fromHex(e),
  );
};

/** UEFI_VARIABLE_DATA. */
export function efiVariable(vendor: string, name: string, data: Uint8Array): Uint8Array {
  const name16 = Uint8Array.from([...name].flatMap((char) => [char.charCodeAt(0), 0]));
  return concat(guidBytes(vendor), u64(name.length), u64(data.length), name16, data);
}

const owner = guidBytes('77fa9abd-0359-4d32-bd60-28f4e78f784b');

/** EFI_SIGNATURE_LIST of one kind. */
export function signatureList(
  type: keyof typeof signatureType,
  ...entries: readonly Uint8Array[]
): Uint8Array {
  const size = 16 + (entries[0]?.length ?? 0);
  return concat(
    guidBytes(signatureType[type]),
    u32(28 + size * entries.length),
    u32(0),
    u32(size),
    ...entries.flatMap((entry) => [owner, entry]),
  );
}

/** EFI_SIGNATURE_DATA. */
export const signatureData = (entry: Uint8Array) => concat(owner, entry);

export const certificate = concat(fromHex('308200fc'), new Uint8Array(252).fill(7));
export const revokedImage = digest('sha256', utf8('revoked image'));

const driverConfig = (vendor: string, name: string, data: Uint8Array): FakeEvent => ({
  register: 7,
  type: eventType.efiVariableDriverConfig,
  data: efiVariable(vendor, name, data),
});

export const separator = (register: number, value = 0): FakeEvent => ({
  register,
  type: eventType.separator,
  data: u32(value),
});

/** Variables of Secure Boot as firmware measures them before the separator. */
export function secureBootVariables(enabled = 1): FakeEvent[] {
  return [
    driverConfig(efiGlobalVariable, 'SecureBoot', Uint8Array.of(enabled)),
    driverConfig(efiGlobalVariable, 'PK', signatureList('x509', certificate)),
    driverConfig(efiGlobalVariable, 'KEK', signatureList('x509', certificate)),
    driverConfig(efiImageSecurityDatabase, 'db', signatureList('x509', certificate)),
    driverConfig(efiImageSecurityDatabase, 'dbx', signatureList('sha256', revokedImage)),
  ];
}

export const authority: FakeEvent = {
  register: 7,
  type: eventType.efiVariableAuthority,
  data: efiVariable(efiImageSecurityDatabase, 'db', signatureData(certificate)),
};

/** A boot with Secure Boot of one signed UKI. */
export function soundBoot(enabled = 1): FakeEvent[] {
  const blob = (register: number, text: string): FakeEvent => ({
    register,
    type: eventType.efiBootServicesApplication,
    data: utf8(`path of ${text}`),
    measured: utf8(text),
  });
  return [
    blob(0, 'firmware'),
    ...secureBootVariables(enabled),
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((register) => separator(register)),
    authority,
    blob(4, 'uki'),
    { register: 11, type: eventType.ipl, data: utf8('.linux'), measured: utf8('kernel') },
  ];
}
