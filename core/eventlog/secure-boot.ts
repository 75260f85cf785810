import { crypto } from '#crypto';
import { equalBytes, utf8 } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { guidText } from '../guid.js';
import {
  type EfiVariable,
  efiGlobalVariable,
  efiImageSecurityDatabase,
  parseEfiVariable,
  parseSignatureLists,
  type Signature,
  variableData,
} from './efi-variable.js';
import { eventType, eventTypeName } from './event-types.js';
import type { EventLog } from './parse.js';
import { type Bank, digestOf, measuredData } from './replay.js';

/** Who signed what was started, as the firmware measured it (EV_EFI_VARIABLE_AUTHORITY). */
export interface BootAuthority {
  /** Variable in which the firmware or shim found it: `db`, `MokList`, `Shim`. */
  readonly variable: string;
  /** GUID of the owner of the entry; undefined where the variable is no signature database. */
  readonly owner: string | undefined;
  /** DER certificate, digest of an image, or whatever else the variable held. */
  readonly data: Uint8Array;
}

/** The signature databases that were in force. */
export interface SignatureDatabases {
  readonly pk: readonly Signature[];
  readonly kek: readonly Signature[];
  readonly db: readonly Signature[];
  readonly dbx: readonly Signature[];
}

/** Secure Boot as the measurements prove it. */
export type SecureBoot =
  | {
      readonly state: 'enabled' | 'disabled';
      readonly databases: SignatureDatabases;
      /** In the order of their measurement. */
      readonly authorities: readonly BootAuthority[];
    }
  | { readonly state: 'unknown'; readonly why: string };

const unknown = (why: string): SecureBoot => ({ state: 'unknown', why });

/** PCR 7 (TCG PFP 3.3.4.8); RTMR0 has these events among others. */
export const secureBootPcr = 7;

const databaseVendors: Readonly<Record<string, string>> = {
  SecureBoot: efiGlobalVariable,
  PK: efiGlobalVariable,
  KEK: efiGlobalVariable,
  db: efiImageSecurityDatabase,
  dbx: efiImageSecurityDatabase,
};

/** Events whose data says what was measured; with any other data the state is unknown. */
const readTypes: ReadonlySet<number> = new Set([
  eventType.separator,
  eventType.action,
  eventType.efiAction,
  eventType.efiVariableDriverConfig,
  eventType.efiVariableAuthority,
]);

/** Firmware and loaders measure some ten into PCR 7, and hardly a hundred into RTMR0. */
const eventsMax = 256;

/** An event of which every byte is what was measured. */
interface MeasuredEvent {
  readonly type: number;
  readonly data: Uint8Array;
}

/**
 * What the log proves of Secure Boot. The register must be one that {@link explainedRegisters} names.
 * State and databases count from before the one separator only: later events could be anybody's.
 *
 * The type of an event is not measured. Who was booted without Secure Boot may extend what he likes
 * and call the firmware's events something else, so that his own are read in their place. PCR 7 is
 * Secure Boot's alone: an event there that is not read proves nothing. RTMR0 has others; there the
 * digests tell a separator and a Secure Boot that is off, whatever they are called.
 */
export function readSecureBoot(log: EventLog, bank: Bank, register = secureBootPcr): SecureBoot {
  const events: MeasuredEvent[] = [];
  let count = 0;
  for (const event of log.events) {
    const { type } = event;
    if (event.register !== register || type === eventType.noAction) continue;
    if (++count > eventsMax)
      return unknown(`register ${register} has more than ${eventsMax} events`);
    const isRead = readTypes.has(type);
    const name = eventTypeName(type);
    if (!isRead && register === secureBootPcr) {
      return unknown(`register ${register} has an ${name}, which is not of Secure Boot`);
    }
    const told = toldApart(bank, digestOf(event, bank));
    if (told !== undefined && told !== type) {
      return unknown(`an event of register ${register} is called ${name} and is another`);
    }
    if (!isRead) continue;
    const data = measuredData(event, bank);
    if (data === undefined) {
      return unknown(`the data of an ${name} of register ${register} is not what was measured`);
    }
    events.push({ type, data });
  }
  try {
    return read(events, register);
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return unknown(error.message);
  }
}

const debugMode = 'UEFI Debug Mode';

const isAction = (type: number) => type === eventType.action || type === eventType.efiAction;

/** The text of an action, without NULs behind it. */
function textOf(data: Uint8Array): string | undefined {
  const text = data.length > 256 ? '' : String.fromCharCode(...data).replace(/\0+$/, '');
  return /^[ -~]+$/.test(text) ? text : undefined;
}

interface KnownEvent {
  readonly type: number;
  readonly digest: Uint8Array;
}

const knownEvents = new Map<Bank, readonly KnownEvent[]>();

/** Type of the events that their digest gives away. */
function toldApart(bank: Bank, digest: Uint8Array): number | undefined {
  let known = knownEvents.get(bank);
  if (known === undefined) {
    const row = (type: number, data: Uint8Array) => ({ type, digest: crypto.hash(bank, data) });
    known = [
      row(eventType.separator, new Uint8Array(4)),
      row(eventType.efiVariableDriverConfig, secureBootVariable(0)),
      row(eventType.efiVariableDriverConfig, secureBootVariable()),
      row(eventType.efiAction, utf8(debugMode)),
      row(eventType.efiAction, utf8(`${debugMode}\0`)),
    ];
    knownEvents.set(bank, known);
  }
  return known.find((one) => one.digest[0] === digest[0] && equalBytes(one.digest, digest))?.type;
}

/** SecureBoot of this value as firmware measures it; absent where there is none. */
const secureBootVariable = (...value: readonly number[]) =>
  variableData(efiGlobalVariable, 'SecureBoot', Uint8Array.from(value));

function read(events: readonly MeasuredEvent[], register: number): SecureBoot {
  const separators = events.filter(({ type }) => type === eventType.separator);
  const [separator] = separators;
  if (separator === undefined || separators.length > 1) {
    return unknown(`register ${register} has ${separators.length} separators`);
  }
  if (separator.data.length !== 4 || separator.data.some((byte) => byte !== 0)) {
    return unknown('the firmware reported an error');
  }
  const at = events.indexOf(separator);
  const [before, after] = [events.slice(0, at), events.slice(at + 1)];
  // An authority by another name would be passed over.
  if (after.some(({ type }) => type === eventType.efiVariableDriverConfig)) {
    return unknown('the configuration was measured after the separator');
  }
  const actions = events.filter(({ type }) => isAction(type)).map(({ data }) => textOf(data));
  if (actions.includes(undefined)) return unknown('an action of the firmware is no text');
  if (actions.includes(debugMode)) return unknown('the firmware is in debug mode');
  const variables = readConfiguration(before);
  const flag = variables.get('SecureBoot');
  if (flag === undefined || flag.length > 1 || (flag[0] ?? 0) > 1) {
    return unknown(flag === undefined ? 'SecureBoot was not measured' : 'SecureBoot is no flag');
  }
  const database = (name: string) => parseSignatureLists(variables.get(name) ?? absent, name);
  return {
    state: flag[0] === 1 ? 'enabled' : 'disabled',
    databases: {
      pk: database('PK'),
      kek: database('KEK'),
      db: database('db'),
      dbx: database('dbx'),
    },
    authorities: events
      .filter(({ type }) => type === eventType.efiVariableAuthority)
      .map(({ data }) => readAuthority(parseEfiVariable(data, 'authority', shimSlack))),
  };
}

/** Older versions of shim measure up to so many bytes too much of an authority. */
const shimSlack = 8;

const absent = new Uint8Array();

/** Secure Boot variables by name; each counts under its own vendor and once. */
function readConfiguration(events: readonly MeasuredEvent[]): ReadonlyMap<string, Uint8Array> {
  const variables = new Map<string, Uint8Array>();
  for (const { type, data } of events) {
    if (type !== eventType.efiVariableDriverConfig) continue;
    const { vendor, name, data: value } = parseEfiVariable(data, 'variable');
    if (databaseVendors[name] !== vendor) continue;
    if (variables.has(name)) {
      throw new CvmpError('MALFORMED', `${name} was measured twice`, { field: name });
    }
    variables.set(name, value);
  }
  return variables;
}

/**
 * Entries of a signature database come as one EFI_SIGNATURE_DATA: owner, then certificate or digest.
 * Older versions of shim leave the owner out.
 */
function readAuthority({ vendor, name, data }: EfiVariable): BootAuthority {
  if (vendor !== efiImageSecurityDatabase || data.length < 16 || isWholeDer(data)) {
    return { variable: name, owner: undefined, data };
  }
  return { variable: name, owner: guidText(data.subarray(0, 16)), data: data.slice(16) };
}

/** A DER SEQUENCE with a length of two bytes, as every certificate is, that fills `data`. */
function isWholeDer(data: Uint8Array): boolean {
  return data[0] === 0x30 && data[1] === 0x82 && data.length === 4 + ((data[2]! << 8) | data[3]!);
}
