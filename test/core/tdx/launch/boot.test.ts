import { describe, expect, it } from 'vitest';
import { type MeasuredEvent, measured } from '#core/boot/measured-event.js';
import { withoutSecureBoot } from '#core/boot/secure-boot.js';
import { noParameters, readUki } from '#core/boot/uki.js';
import { toHex, utf8 } from '#core/bytes.js';
import { authenticodeDigest, parsePe } from '#core/firmware/pe.js';
import {
  type DirectBoot,
  predictRtmrs,
  type TdxBootInputs,
  type UkiBoot,
} from '#core/tdx/launch/boot.js';
import { parseTdvf } from '#core/tdx/launch/tdvf.js';
import { crypto } from '#crypto';
import { simulatedTdvf } from '#sim/tdvf.js';
import { fakePe } from '../../../fakes/pe.js';

const kernel = fakePe([{ name: '.text', data: new Uint8Array(64) }]);
const direct: DirectBoot = {
  kind: 'direct',
  kernel,
  initrd: utf8('initrd'),
  cmdline: 'quiet',
  patched: false,
};
const inputs: TdxBootInputs = {
  sections: parseTdvf(simulatedTdvf()),
  memory: 2 ** 32,
  secureBoot: withoutSecureBoot,
  authorities: [],
  acpi: { loader: utf8('loader'), rsdp: utf8('rsdp'), tables: utf8('tables') },
  bootVariables: [{ name: 'BootOrder', data: new Uint8Array(2) }],
  boot: direct,
};
const table: MeasuredEvent = measured(5, 0x80000006, 'partition table', utf8('table'));
const sections = [
  { name: '.linux', data: kernel },
  { name: '.cmdline', data: utf8('quiet') },
  { name: '.sdmagic', data: utf8('#### LoaderInfo: systemd-stub 255 ####') },
];
const uki: UkiBoot = {
  kind: 'uki',
  loaders: [],
  uki: readUki(parsePe(fakePe(sections))),
  partitionTable: table,
  innerKernel: undefined,
  parameters: noParameters,
  stubVersion: undefined,
};

const predicted = (change: Partial<TdxBootInputs> = {}) => predictRtmrs({ ...inputs, ...change });
const what = (rtmr: number, change?: Partial<TdxBootInputs>) => {
  const found = predicted(change)[rtmr]!;
  return 'why' in found ? found.why : found.events.map((event) => event.what);
};
const value = (rtmr: number, change?: Partial<TdxBootInputs>) => {
  const found = predicted(change)[rtmr]!;
  return 'why' in found ? found.why : toHex(found.value);
};

describe('RTMRs of a TD under QEMU with OVMF (UEFI 38.4.1)', () => {
  it('RTMR0 has what real TDs log, in that order', () => {
    expect(what(0)).toEqual([
      'TD HOB (488 bytes)',
      'CFV (8192 bytes)',
      'variable SecureBoot (0 bytes)',
      'variable PK (0 bytes)',
      'variable KEK (0 bytes)',
      'variable db (0 bytes)',
      'variable dbx (0 bytes)',
      'separator',
      'ACPI table loader',
      'ACPI RSDP',
      'ACPI tables',
      'variable BootOrder',
    ]);
  });

  it('a kernel of the hypervisor is measured before the boot manager runs', () => {
    expect(what(1)).toEqual([
      'kernel',
      'Calling EFI Application from Boot Option',
      'separator',
      'Exit Boot Services Invocation',
      'Exit Boot Services Returned with Success',
    ]);
    expect(what(2)).toEqual(['command line of the kernel', 'initrd']);
    const [options] = [...(predicted()[2] as { events: readonly MeasuredEvent[] }).events];
    const text = utf8([...'quiet initrd=initrd\0'].map((char) => `${char}\0`).join(''));
    expect(options!.digest('sha384')).toEqual(crypto.hash('sha384', text));
  });

  it('a unified kernel image is measured after the partition table', () => {
    expect(what(1, { boot: uki })).toEqual([
      'Calling EFI Application from Boot Option',
      'separator',
      'partition table',
      'unified kernel image',
      'kernel inside of it',
      'Exit Boot Services Invocation',
      'Exit Boot Services Returned with Success',
    ]);
    expect(what(2, { boot: uki })).toEqual([
      'name of .linux',
      `.linux (${kernel.length} bytes)`,
      'name of .cmdline',
      '.cmdline (5 bytes)',
      'command line of the kernel',
    ]);
  });

  it('the value is the replay of the events', () => {
    const events = (predicted({ boot: uki })[1] as { events: readonly MeasuredEvent[] }).events;
    const replayed = events.reduce<Uint8Array>(
      (before, { digest }) => crypto.hash('sha384', before, digest('sha384')),
      new Uint8Array(48),
    );
    expect(value(1, { boot: uki })).toBe(toHex(replayed));
    expect(events[3]!.digest('sha384')).toEqual(authenticodeDigest(uki.uki.image, 'sha384'));
  });

  it.each<[string, number, Partial<TdxBootInputs>]>([
    ['memory', 0, { memory: 2 ** 33 }],
    ['a TD HOB of another hypervisor', 0, { memory: { tdHob: utf8('hob') } }],
    [
      'the variable store',
      0,
      { sections: parseTdvf(simulatedTdvf({ variables: new Uint8Array(4096) })) },
    ],
    ['ACPI tables', 0, { acpi: { ...inputs.acpi!, rsdp: utf8('other') } }],
    ['boot variables', 0, { bootVariables: [] }],
    ['Secure Boot', 0, { secureBoot: { ...withoutSecureBoot, state: 'off' } }],
    ['an authority', 0, { authorities: [new Uint8Array(20)] }],
    ['the kernel', 1, { boot: { ...direct, kernel: fakePe([{ name: '.t', data: kernel }]) } }],
    ['the command line', 2, { boot: { ...direct, cmdline: 'debug' } }],
    ['no initrd', 2, { boot: { ...direct, initrd: undefined } }],
    ['an older stub, which measures nothing', 2, { boot: { ...uki, stubVersion: 252 } }],
  ])('%s changes RTMR%i', (_, rtmr, change) => {
    const base = change.boot?.kind === 'uki' ? { boot: uki } : {};
    expect(value(rtmr, change)).toMatch(/^[0-9a-f]{96}$/);
    expect(value(rtmr, change)).not.toBe(value(rtmr, base));
  });

  it.each<[string, number, Partial<TdxBootInputs>]>([
    ['ACPI tables', 0, { acpi: undefined }],
    ['kernel', 1, { boot: undefined }],
    ['kernel', 2, { boot: undefined }],
    ['partition table', 1, { boot: { ...uki, partitionTable: undefined } }],
    ['memory', 1, { boot: { ...direct, patched: true }, memory: { tdHob: utf8('hob') } }],
    ['initrd', 2, { boot: { ...uki, stubVersion: 256 } }],
  ])('what nobody knows without %s is said, not guessed: RTMR%i', (why, rtmr, change) => {
    expect(what(rtmr, change)).toContain(why);
  });
});
