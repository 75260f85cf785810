import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gptEvent } from '#core/boot/gpt.js';
import { linuxStubEvents, qemuPatchedKernel } from '#core/boot/linux.js';
import { bootVariable, extendAll } from '#core/boot/measured-event.js';
import {
  authorityEvent,
  type SecureBootSetup,
  secureBootEvents,
  secureBootOf,
  withoutSecureBoot,
} from '#core/boot/secure-boot.js';
import { concat, fromHex, toHex, utf8 } from '#core/bytes.js';
import { efiGlobalVariable } from '#core/eventlog/efi-variable.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { replay } from '#core/eventlog/replay.js';
import { crypto } from '#crypto';
import { linuxKernel, partitionedDisk } from '../../fakes/boot.js';
import { eventLog, secureBootVariables, separator, soundBoot } from '../../fakes/event-log.js';
import { refusalAtOnce } from '../../refusal.js';
import { sharedVectors } from '../../vectors.js';

describe('PCR 7 (TCG PFP 3.3.4.8)', () => {
  it('a firmware without Secure Boot measures five empty variables, as real TDs show', () => {
    // From the published event log of a TD whose OVMF was built without Secure Boot.
    expect(
      secureBootEvents(withoutSecureBoot).map(({ digest }) => toHex(digest('sha384')).slice(0, 16)),
    ).toEqual([
      '9dc3a1f80bcec915',
      '6f2e3cbc14f9def8',
      'd607c0efb41c0d75',
      '08a74f8963b337ac',
      '18cc6e01f0c6ea99',
      '394341b7182cd227',
    ]);
  });

  it('is what a log of the same variables replays to', () => {
    const log = parseEventLog(eventLog([...secureBootVariables(), separator(7)]));
    const variables = log.events.map(({ data }) => data.subarray(32));
    const [, pk, kek, db, dbx] = variables.map((data, i) => data.subarray([20, 4, 6, 4, 6, 0][i]!));
    const setup: SecureBootSetup = { state: 'on', pk: pk!, kek: kek!, db: db!, dbx: dbx! };
    const predicted = extendAll(secureBootEvents(setup), 'sha256');
    expect(toHex(predicted)).toBe(toHex(replay(log, 'sha256').get(7)!));
  });

  it('the authority is the entry of db with its owner', () => {
    const sound = parseEventLog(eventLog(soundBoot()));
    const { data } = sound.events.find(({ type }) => type === 0x800000e0)!;
    const entry = data.subarray(32 + 4);
    expect(toHex(authorityEvent(entry).digest('sha256'))).toBe(toHex(crypto.hash('sha256', data)));
    expect(refusalAtOnce(() => authorityEvent(new Uint8Array(16)))).toBe('MALFORMED');
  });

  it('Secure Boot is on with a PK, unless somebody switched it off', () => {
    const pk = { vendor: efiGlobalVariable, name: 'PK', data: utf8('pk') };
    const vendor = 'f0a30bc7-af08-4556-99c4-001009c93a44';
    const off = { vendor, name: 'SecureBootEnable', data: Uint8Array.of(0) };
    expect(secureBootOf([pk]).state).toBe('on');
    expect(secureBootOf([pk, off]).state).toBe('off');
    expect(secureBootOf([off]).state).toBe('off');
  });
});

describe('boot variables', () => {
  it("OVMF's own Boot0000 has the digest of real TDs", () => {
    const uiApp = fromHex(
      '090100002c0055006900410070007000000004071400c9bdb87cebf8344faaea3ee4af6516a1' +
        '0406140021aa2c4614760345836e8ab6f46623317fff0400',
    );
    expect(toHex(bootVariable('Boot0000', uiApp).digest('sha384')).slice(0, 16)).toBe(
      '23ada07f5261f12f',
    );
  });
});

describe('partition table (UEFI_GPT_DATA)', () => {
  it('is header, number and the partitions in use', () => {
    const data = partitionedDisk();
    const number = Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0);
    const parts = [data.subarray(1024, 1152), data.subarray(1280, 1408)];
    const expected = concat(data.subarray(512, 604), number, ...parts);
    expect(gptEvent(data).digest('sha384')).toEqual(crypto.hash('sha384', expected));
  });

  it('no table, an unusual one and a truncated one are refused', () => {
    for (const bytes of [
      new Uint8Array(34 * 512),
      partitionedDisk(1000),
      partitionedDisk().subarray(0, 1200),
    ]) {
      expect(refusalAtOnce(() => gptEvent(bytes))).toBe('MALFORMED');
    }
    for (let length = 0; length < 1500; length += 7) {
      refusalAtOnce(() => gptEvent(partitionedDisk().subarray(0, length)));
    }
  });
});

const shared = sharedVectors();
describe.skipIf(shared === undefined)('a real CC event log (needs ../shared/vectors)', () => {
  it('has the partition table, and the Secure Boot variables, as predicted from their contents', () => {
    const bytes = readFileSync(join(shared!, 'measure/tdx-gcp-cos113/ccel.bin'));
    const log = parseEventLog(new Uint8Array(bytes));
    const table = log.events.find(({ type }) => type === 0x80000006)!;
    const disk = new Uint8Array(40 * 512);
    disk.set(table.data.subarray(0, 92), 512);
    disk.set(table.data.subarray(100), 1024);
    expect(gptEvent(disk).digest('sha384')).toEqual(table.digest('sha384'));
    const variables = log.events.filter(({ type }) => type === 0x80000001);
    const [, pk, kek, db, dbx] = variables.map(({ data }, i) =>
      data.subarray(32 + [20, 4, 6, 4, 6][i]!),
    );
    // That machine had keys enrolled, and Secure Boot off.
    const setup: SecureBootSetup = { state: 'off', pk: pk!, kek: kek!, db: db!, dbx: dbx! };
    expect(secureBootEvents(setup).map(({ digest }) => toHex(digest('sha384')))).toEqual(
      [...variables, log.events.find(({ type }) => type === 4)!].map((event) =>
        toHex(event.digest('sha384')!),
      ),
    );
  });
});

describe('what the kernel measures (Linux EFI stub)', () => {
  it('command line in UTF-16 with NUL, then the initrd', () => {
    const events = linuxStubEvents({ cmdline: 'a', initrd: utf8('initrd') });
    expect(events.map(({ digest }) => digest('sha256'))).toEqual([
      crypto.hash('sha256', utf8('a\0\0\0')),
      crypto.hash('sha256', utf8('initrd')),
    ]);
    expect(linuxStubEvents({ cmdline: 'a', initrd: undefined })).toHaveLength(1);
  });
});

describe('a kernel as QEMU hands it over (Linux boot protocol)', () => {
  const field = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer).getUint32(at, true);

  it('names loader, heap, command line and initrd', () => {
    const patched = qemuPatchedKernel(linuxKernel(), 0x1234, 0x8000_0000);
    expect([patched[0x210], patched[0x211]]).toEqual([0xb0, 0x81]);
    expect([field(patched, 0x224), field(patched, 0x228)]).toEqual([0xfe00, 0x20000]);
    expect(field(patched, 0x218)).toBe((0x8000_0000 - 0x28000 - 1 - 0x1234) & ~0xfff);
    expect(field(patched, 0x21c)).toBe(0x1234);
    expect(qemuPatchedKernel(linuxKernel(), 0, 0x8000_0000)[0x21c]).toBe(0);
  });

  it('an older kernel has its initrd lower', () => {
    const old = qemuPatchedKernel(linuxKernel(0x20a, 0), 0x1000, 0xb000_0000 - 1);
    expect(field(old, 0x218)).toBe((0x7fff_ffff - 0x1000) & ~0xfff);
  });

  it('anything else than a kernel, and an initrd that does not fit, are refused', () => {
    const refused = [
      () => qemuPatchedKernel(new Uint8Array(0x2000), 0, 2 ** 31),
      () => qemuPatchedKernel(linuxKernel(0x202), 0, 2 ** 31),
      () => qemuPatchedKernel(linuxKernel().subarray(0, 100), 0, 2 ** 31),
      () => qemuPatchedKernel(linuxKernel(), 2 ** 30, 2 ** 29),
    ];
    for (const work of refused) expect(refusalAtOnce(work)).toBe('MALFORMED');
  });
});
