import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { extendAll } from '#core/boot/measured-event.js';
import {
  type BootPhase,
  bootPhases,
  noParameters,
  phaseEvents,
  readUki,
  ukiCmdline,
  ukiParameterEvents,
  ukiSectionEvents,
} from '#core/boot/uki.js';
import { concat, toHex, utf8 } from '#core/bytes.js';
import { parsePe } from '#core/firmware/pe.js';
import { crypto } from '#crypto';
import { type FakeSection, fakePe } from '../../fakes/pe.js';
import { refusalAtOnce } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const kernel = fakePe([{ name: '.text', data: new Uint8Array(100) }]);
const section = (name: string, data: string | Uint8Array): FakeSection => ({
  name,
  data: typeof data === 'string' ? utf8(data) : data,
});
const parts = [
  section('.osrel', 'ID=test\n'),
  section('.cmdline', 'console=ttyS0 quiet'),
  section('.initrd', new Uint8Array(5003).fill(5)),
  section('.linux', kernel),
];
const uki = (...more: readonly FakeSection[]) => readUki(parsePe(fakePe([...parts, ...more])));
const sdmagic = (version: number) =>
  section('.sdmagic', `#### LoaderInfo: systemd-stub ${version}.1 ####\0`);
const names = (...args: Parameters<typeof ukiSectionEvents>) =>
  ukiSectionEvents(...args)
    .filter(({ what }) => what.startsWith('name of'))
    .map(({ what }) => what.slice('name of '.length));

describe('PCR 11 of a unified kernel image (systemd-stub(7), systemd-measure(1))', () => {
  it('is name with NUL and contents of each section, in the fixed order', () => {
    const extend = (value: Uint8Array, data: Uint8Array) =>
      crypto.hash('sha256', value, crypto.hash('sha256', data));
    const inOrder = ['.linux', '.osrel', '.cmdline', '.initrd'];
    const expected = inOrder.reduce<Uint8Array>((value, name) => {
      const { data } = parts.find((part) => part.name === name)!;
      return extend(extend(value, utf8(`${name}\0`)), data);
    }, new Uint8Array(32));
    expect(toHex(extendAll(ukiSectionEvents(uki()), 'sha256'))).toBe(toHex(expected));
  });

  it('signatures are never measured; newer sections by newer stubs alone', () => {
    const all = ['.ucode', '.uname', '.sbat', '.pcrsig', '.pcrpkey', '.profile', '.hwids', '.x'];
    const image = readUki(parsePe(fakePe([...parts, ...all.map((name) => section(name, 'x'))])));
    const base = ['.linux', '.osrel', '.cmdline', '.initrd'];
    expect(names(image, 252)).toEqual([...base, '.pcrpkey']);
    expect(names(image, 254)).toEqual([...base, '.uname', '.sbat', '.pcrpkey']);
    const newest = [...base, '.ucode', '.uname', '.sbat', '.pcrpkey', '.profile', '.hwids'];
    expect(names(image)).toEqual(newest);
    const known = readUki(parsePe(fakePe([...parts, section('.sbat', 'x'), sdmagic(252)])));
    expect(known.stubVersion).toBe(252);
    expect(names(known)).toEqual(base);
    expect(names(known, 254)).toEqual([...base, '.sbat']);
  });

  it('a section is measured as it lies in memory: at its own length, filled with zeros', () => {
    const padded = { ...section('.osrel', 'ID=a'), virtualSize: 10 };
    const image = readUki(parsePe(fakePe([section('.linux', kernel), padded])));
    const [, , , contents] = ukiSectionEvents(image);
    expect(contents!.digest('sha256')).toEqual(
      crypto.hash('sha256', concat(utf8('ID=a'), new Uint8Array(6))),
    );
  });

  it('phases follow one another', () => {
    const words = (phase: BootPhase) => phaseEvents(phase).map(({ what }) => what);
    expect(words('enter-initrd')).toEqual(['phase enter-initrd']);
    expect(phaseEvents('none')).toEqual([]);
    expect(words('ready')).toEqual(bootPhases.map((phase) => `phase ${phase}`));
  });

  it('of several profiles one counts, with what all share', () => {
    const file = fakePe([
      ...parts,
      section('.profile', 'ID=main'),
      section('.profile', 'ID=debug'),
      section('.cmdline', 'debug'),
    ]);
    expect(ukiCmdline(readUki(parsePe(file)))).toBe('console=ttyS0 quiet');
    expect(ukiCmdline(readUki(parsePe(file), 1))).toBe('debug');
    expect(refusalAtOnce(() => readUki(parsePe(file), 2))).toBe('MALFORMED');
  });

  it.each<[string, readonly FakeSection[]]>([
    ['no kernel', parts.slice(0, 3)],
    ['a section twice', [...parts, parts[0]!]],
  ])('%s is refused', (_, sections) => {
    expect(refusalAtOnce(() => readUki(parsePe(fakePe(sections))))).toBe('MALFORMED');
  });
});

describe('PCR 12 (systemd-stub(7))', () => {
  it('is untouched where nothing comes from outside', () => {
    expect(ukiParameterEvents(noParameters)).toEqual([]);
  });

  it('has command lines in UTF-16 with NUL, that from outside first', () => {
    const addon = parsePe(fakePe([section('.cmdline', 'b\n')]));
    const events = ukiParameterEvents({ cmdline: 'a', addons: [addon] });
    expect(events.map(({ digest }) => toHex(digest('sha256')))).toEqual(
      ['a\0\0\0', 'b\0\0\0'].map((text) => toHex(crypto.hash('sha256', utf8(text)))),
    );
  });
});

const measure = '/lib/systemd/systemd-measure';
describe.skipIf(!existsSync(measure))(
  'as systemd-measure prints it (skipped without systemd-measure of Debian)',
  () => {
    it('for every phase and both banks', () => {
      const folder = temporaryFolder('uki');
      const args = parts.map(({ name, data }) => {
        const file = join(folder, name.slice(1));
        writeFileSync(file, data);
        return `--${name.slice(1)}=${file}`;
      });
      const banks = ['--bank=sha256', '--bank=sha384'];
      const out = execFileSync(measure, ['calculate', ...args, ...banks], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const found = [...out.toString().matchAll(/^11:(sha\d+)=([0-9a-f]+)$/gm)];
      const expected = bootPhases.flatMap((phase) =>
        (['sha256', 'sha384'] as const).map((bank) => [
          bank,
          toHex(extendAll([...ukiSectionEvents(uki()), ...phaseEvents(phase)], bank)),
        ]),
      );
      expect(found.map(([, bank, value]) => [bank, value])).toEqual(expected);
    });
  },
);

const stub = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub';
describe.skipIf(!existsSync(stub))(
  "systemd-stub of Debian's systemd-boot-efi (skipped without that package)",
  () => {
    it('says its version, and has no kernel in it yet', () => {
      const bytes = new Uint8Array(readFileSync(stub));
      expect(refusalAtOnce(() => readUki(parsePe(bytes)))).toBe('MALFORMED');
      const magic = parsePe(bytes).sections.find(({ name }) => name === '.sdmagic')!;
      const file = fakePe([...parts, { name: '.sdmagic', data: magic.raw }]);
      expect(readUki(parsePe(file)).stubVersion).toBeGreaterThan(250);
    });
  },
);
