import { CvmpError } from '../errors.js';
import {
  efiGlobalVariable,
  efiImageSecurityDatabase,
  variableData,
} from '../eventlog/efi-variable.js';
import { eventType } from '../eventlog/event-types.js';
import type { StoredVariable } from '../firmware/variable-store.js';
import { type MeasuredEvent, measured, separator } from './measured-event.js';

/** Secure Boot as a firmware starts with it. */
export interface SecureBootSetup {
  /** `absent`: the firmware was built without Secure Boot. */
  readonly state: 'on' | 'off' | 'absent';
  /** Contents of the variables (EFI_SIGNATURE_LISTs); empty where they are not set. */
  readonly pk: Uint8Array;
  readonly kek: Uint8Array;
  readonly db: Uint8Array;
  readonly dbx: Uint8Array;
}

/** PCR 7 (TCG PFP 3.3.4.8); RTMR0 in a TDX guest. */
const secureBootPcr = 7;

const none = new Uint8Array();

/** A firmware that knows no Secure Boot: its variables are measured all the same, as empty. */
export const withoutSecureBoot: SecureBootSetup = {
  state: 'absent',
  pk: none,
  kek: none,
  db: none,
  dbx: none,
};

/** GUID of SecureBootEnable, by which a person switches Secure Boot off (EDK II SecurityPkg). */
const secureBootEnable = 'f0a30bc7-af08-4556-99c4-001009c93a44';

/**
 * What a variable store says of Secure Boot: it is on where there is a PK and nobody disabled it.
 * Whether the firmware knows Secure Boot at all is not in the store.
 */
export function secureBootOf(variables: readonly StoredVariable[]): SecureBootSetup {
  const data = (vendor: string, name: string) =>
    variables.find((one) => one.vendor === vendor && one.name === name)?.data ?? none;
  const pk = data(efiGlobalVariable, 'PK');
  const enable = data(secureBootEnable, 'SecureBootEnable');
  return {
    state: pk.length > 0 && enable[0] !== 0 ? 'on' : 'off',
    pk,
    kek: data(efiGlobalVariable, 'KEK'),
    db: data(efiImageSecurityDatabase, 'db'),
    dbx: data(efiImageSecurityDatabase, 'dbx'),
  };
}

const flags = { on: Uint8Array.of(1), off: Uint8Array.of(0), absent: none } as const;

/** State and databases, then the separator: what EDK II measures before it starts anything. */
export function secureBootEvents(setup: SecureBootSetup): readonly MeasuredEvent[] {
  const variable = (vendor: string, name: string, data: Uint8Array) =>
    measured(
      secureBootPcr,
      eventType.efiVariableDriverConfig,
      `variable ${name} (${data.length} bytes)`,
      variableData(vendor, name, data),
    );
  return [
    variable(efiGlobalVariable, 'SecureBoot', flags[setup.state]),
    variable(efiGlobalVariable, 'PK', setup.pk),
    variable(efiGlobalVariable, 'KEK', setup.kek),
    variable(efiImageSecurityDatabase, 'db', setup.db),
    variable(efiImageSecurityDatabase, 'dbx', setup.dbx),
    separator(secureBootPcr),
  ];
}

/**
 * The entry of db that an image was admitted by, measured once however many images it admits.
 * @param entry EFI_SIGNATURE_DATA: GUID of the owner (16 bytes), then certificate or digest
 */
export function authorityEvent(entry: Uint8Array): MeasuredEvent {
  if (entry.length <= 16) {
    throw new CvmpError('MALFORMED', 'an entry of db begins with its owner', { field: 'db' });
  }
  return measured(
    secureBootPcr,
    eventType.efiVariableAuthority,
    'authority of db',
    variableData(efiImageSecurityDatabase, 'db', entry),
  );
}
