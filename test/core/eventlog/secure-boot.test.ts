import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, utf8 } from '#core/bytes.js';
import {
  efiGlobalVariable,
  efiImageSecurityDatabase,
  parseEfiVariable,
  parseSignatureLists,
  shimLock,
  signatureType,
} from '#core/eventlog/efi-variable.js';
import { eventType } from '#core/eventlog/event-types.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { readSecureBoot } from '#core/eventlog/secure-boot.js';
import {
  authority,
  certificate,
  efiVariable,
  eventLog,
  type FakeEvent,
  revokedImage,
  secureBootVariables,
  separator,
  signatureData,
  signatureList,
} from '../../fakes/event-log.js';
import { refusalOf } from '../../refusal.js';

const read = (...events: readonly FakeEvent[]) =>
  readSecureBoot(parseEventLog(eventLog(events)), 'sha256');
const config = (vendor: string, name: string, data: Uint8Array): FakeEvent => ({
  register: 7,
  type: eventType.efiVariableDriverConfig,
  data: efiVariable(vendor, name, data),
});
const action = (text: string): FakeEvent => ({
  register: 7,
  type: eventType.efiAction,
  data: utf8(text),
});

describe('Secure Boot from PCR 7 (TCG PFP s.3.3.4.8; protocol.md s.4)', () => {
  it('state, databases and who signed what was started', () => {
    const found = read(...secureBootVariables(), separator(7), authority);
    if (found.state === 'unknown') throw new Error(found.why);
    expect(found.state).toBe('enabled');
    expect(found.databases.db).toEqual([
      expect.objectContaining({ type: signatureType.x509, data: certificate }),
    ]);
    expect(found.databases.dbx).toEqual([
      expect.objectContaining({ type: signatureType.sha256, data: revokedImage }),
    ]);
    expect(found.authorities).toEqual([
      { variable: 'db', owner: '77fa9abd-0359-4d32-bd60-28f4e78f784b', data: certificate },
    ]);
  });

  it('off', () => {
    expect(read(...secureBootVariables(0), separator(7)).state).toBe('disabled');
  });

  it('an authority of an older shim: no owner, bytes behind, one of them not measured', () => {
    const data = concat(
      efiVariable(efiImageSecurityDatabase, 'db', certificate),
      new Uint8Array(5),
    );
    const logged: FakeEvent = {
      register: 7,
      type: eventType.efiVariableAuthority,
      data: concat(data, Uint8Array.of(0xaf)),
      measured: data,
    };
    const found = read(...secureBootVariables(), separator(7), logged);
    if (found.state === 'unknown') throw new Error(found.why);
    expect(found.authorities).toEqual([{ variable: 'db', owner: undefined, data: certificate }]);
  });

  it("shim's own variables are authorities without owner", () => {
    const sbat: FakeEvent = {
      register: 7,
      type: eventType.efiVariableAuthority,
      data: efiVariable(shimLock, 'SbatLevel', utf8('sbat,1,2023012900')),
    };
    const found = read(...secureBootVariables(), separator(7), sbat);
    if (found.state === 'unknown') throw new Error(found.why);
    expect(found.authorities).toEqual([
      { variable: 'SbatLevel', owner: undefined, data: utf8('sbat,1,2023012900') },
    ]);
  });

  const sound = secureBootVariables();
  const edited = {
    ...sound[0]!,
    data: efiVariable(efiGlobalVariable, 'SecureBoot', Uint8Array.of(1)),
  };
  const rows: [string, FakeEvent[]][] = [
    ['no events at all', []],
    ['no separator', sound],
    ['two separators', [...sound, separator(7), separator(7)]],
    ['a separator that reports an error', [...sound, separator(7, 0xffffffff)]],
    ['a separator of another value', [...sound, separator(7, 1)]],
    ['a separator of another register', [...sound, separator(6)]],
    ['SecureBoot after the separator', [...sound.slice(1), separator(7), sound[0]!]],
    [
      'SecureBoot under a vendor of its own',
      [config(shimLock, 'SecureBoot', Uint8Array.of(1)), separator(7)],
    ],
    ['SecureBoot measured twice', [sound[0]!, ...sound, separator(7)]],
    [
      'SecureBoot of two bytes',
      [config(efiGlobalVariable, 'SecureBoot', Uint8Array.of(1, 1)), separator(7)],
    ],
    [
      'SecureBoot of value 2',
      [config(efiGlobalVariable, 'SecureBoot', Uint8Array.of(2)), separator(7)],
    ],
    [
      'SecureBoot whose data says 1 and whose digest 0',
      [
        { ...edited, measured: efiVariable(efiGlobalVariable, 'SecureBoot', Uint8Array.of(0)) },
        ...sound.slice(1),
        separator(7),
      ],
    ],
    [
      'an authority that was edited',
      [...sound, separator(7), { ...authority, measured: utf8('x') }],
    ],
    [
      'a dbx that is no signature list',
      [
        ...sound.slice(0, 4),
        config(efiImageSecurityDatabase, 'dbx', new Uint8Array(20)),
        separator(7),
      ],
    ],
    ['debug mode of the firmware', [action('UEFI Debug Mode'), ...sound, separator(7)]],
    [
      'debug mode of the firmware, with a NUL',
      [action('UEFI Debug Mode\0'), ...sound, separator(7)],
    ],
  ];
  it.each(rows)('%s proves nothing', (_, events) => {
    expect(read(...events).state).toBe('unknown');
  });

  // Types are not measured: whoever hands the log over may say others.
  const off = secureBootVariables(0);
  const as = (type: number, event: FakeEvent): FakeEvent => ({ ...event, type });
  /** What who booted without Secure Boot may extend afterwards. */
  const forged = [...sound, separator(7)];
  it.each<[string, FakeEvent[]]>([
    [
      'Secure Boot that is off, and forged events behind the separator',
      [...off.map((event) => as(13, event)), as(13, separator(7)), ...forged],
    ],
    [
      'the separator as something else that is read',
      [as(eventType.efiAction, off[0]!), as(eventType.efiAction, separator(7)), ...forged],
    ],
    ['an authority as an event that is not read', [...forged, as(13, authority)]],
    ['an authority as an action', [...forged, as(eventType.efiAction, authority)]],
    [
      'an authority as configuration',
      [...forged, as(eventType.efiVariableDriverConfig, authority)],
    ],
    ['debug mode as another action', [as(13, action('UEFI Debug Mode')), ...forged]],
  ])('%s proves nothing', (_, events) => {
    expect(read(...events).state).toBe('unknown');
  });

  it('more events than any firmware makes prove nothing', () => {
    const many = Array.from({ length: 600 }, () => authority);
    expect(read(...forged, ...many).state).toBe('unknown');
  });

  it('an absent SecureBoot variable with empty data is off', () => {
    const empty = config(efiGlobalVariable, 'SecureBoot', new Uint8Array());
    expect(read(empty, separator(7)).state).toBe('disabled');
  });
});

describe('EFI structures', () => {
  it('a variable comes back as it was written', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
        fc.uint8Array(),
        (name, data) => {
          const bytes = efiVariable(efiGlobalVariable, name, data);
          expect(parseEfiVariable(bytes, 'x')).toEqual({ vendor: efiGlobalVariable, name, data });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('every truncation of a variable is refused', async () => {
    const bytes = efiVariable(efiGlobalVariable, 'SecureBoot', Uint8Array.of(1));
    for (let length = 0; length < bytes.length; length++) {
      const work = () => parseEfiVariable(bytes.slice(0, length), 'x');
      expect(await refusalOf(work)).toBe('MALFORMED');
    }
    expect(await refusalOf(() => parseEfiVariable(concat(bytes, bytes), 'x'))).toBe('MALFORMED');
  });

  it('several lists of several signatures', () => {
    const bytes = concat(
      signatureList('x509', certificate),
      signatureList('sha256', revokedImage, revokedImage),
    );
    expect(parseSignatureLists(bytes, 'db').map(({ type }) => type)).toEqual([
      signatureType.x509,
      signatureType.sha256,
      signatureType.sha256,
    ]);
  });

  it('a list that is cut, or of wrong sizes, is refused', async () => {
    const bytes = signatureList('sha256', revokedImage, revokedImage);
    for (let length = 1; length < bytes.length; length++) {
      const work = () => parseSignatureLists(bytes.slice(0, length), 'db');
      expect(await refusalOf(work), `${length}`).toBe('MALFORMED');
    }
    for (const at of [16, 20, 24]) {
      const wrong = bytes.slice();
      wrong[at]! ^= 1;
      expect(await refusalOf(() => parseSignatureLists(wrong, 'db')), `${at}`).toBe('MALFORMED');
    }
  });

  it('signature data is owner and entry', () => {
    expect(signatureData(certificate)).toHaveLength(16 + certificate.length);
  });
});
