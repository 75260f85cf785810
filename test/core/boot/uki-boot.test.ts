import { describe, expect, it } from 'vitest';
import { measured } from '#core/boot/measured-event.js';
import { withoutSecureBoot } from '#core/boot/secure-boot.js';
import { noParameters, readUki } from '#core/boot/uki.js';
import { predictUkiBoot, type UkiBootInputs } from '#core/boot/uki-boot.js';
import { utf8 } from '#core/bytes.js';
import { parsePe } from '#core/firmware/pe.js';
import { type FakeSection, fakePe } from '../../fakes/pe.js';
import { refusalAtOnce } from '../../refusal.js';

const kernel = fakePe([{ name: '.text', data: new Uint8Array(64) }]);
const text = (name: string, data: string): FakeSection => ({ name, data: utf8(data) });
const base = [
  { name: '.linux', data: kernel },
  text('.cmdline', 'quiet'),
  text('.initrd', 'initrd'),
  text('.sdmagic', '#### LoaderInfo: systemd-stub 252 ####'),
];
const uki = (...more: readonly FakeSection[]) => readUki(parsePe(fakePe([...base, ...more])));
const loader = parsePe(fakePe([text('.text', 'loader')]));
const addon = parsePe(fakePe([text('.cmdline', 'debug')]));
const table = measured(5, 0x80000006, 'partition table', utf8('table'));

const inputs: UkiBootInputs = {
  loaders: [],
  uki: uki(),
  secureBoot: withoutSecureBoot,
  authorities: [],
  partitionTable: undefined,
  innerKernel: undefined,
  parameters: noParameters,
  stubVersion: undefined,
  phase: 'enter-initrd',
};
const predict = (change: Partial<UkiBootInputs> = {}) => predictUkiBoot({ ...inputs, ...change });
const what = (pcr: number, change?: Partial<UkiBootInputs>) =>
  predict(change)
    .events.filter((event) => event.pcr === pcr)
    .map((event) => event.what);
const on = { ...withoutSecureBoot, state: 'on' } as const;

describe('PCRs of a boot of a unified kernel image (TCG PFP; systemd-stub(7))', () => {
  it('PCR 4 has what the firmware starts, in order', () => {
    const start = ['Calling EFI Application from Boot Option', 'separator'];
    const [image, inner] = ['unified kernel image', 'kernel inside of it'];
    expect(what(4)).toEqual([...start, image, inner]);
    expect(what(4, { loaders: [loader] })).toEqual([...start, 'boot loader 1', image, inner]);
    const parameters = { cmdline: undefined, addons: [addon] };
    expect(what(4, { parameters })).toEqual([...start, image, 'addon 1', inner]);
  });

  it('the kernel inside is measured without Secure Boot, before stub 258, or as told', () => {
    const inner = (change: Partial<UkiBootInputs>) =>
      what(4, change).includes('kernel inside of it');
    expect(inner({ secureBoot: on })).toBe(false);
    expect(inner({ stubVersion: 258 })).toBe(false);
    expect(inner({ secureBoot: on, innerKernel: true })).toBe(true);
    expect(inner({ innerKernel: false })).toBe(false);
  });

  it('PCR 7 has an authority for what was admitted', () => {
    expect(what(7, { authorities: [new Uint8Array(20)] }).slice(-2)).toEqual([
      'separator',
      'authority of db',
    ]);
  });

  it('PCR 5 has the partition table between separator and hand-over', () => {
    expect(what(5, { partitionTable: table })).toEqual([
      'separator',
      'partition table',
      'Exit Boot Services Invocation',
      'Exit Boot Services Returned with Success',
    ]);
    expect(what(5)).toEqual([]);
  });

  it('PCR 9 has what the kernel is given; addons add to the command line', () => {
    expect(what(9)).toEqual(['command line of the kernel', 'initrd']);
    const [event] = predict({ parameters: { cmdline: undefined, addons: [addon] } }).events.filter(
      ({ pcr }) => pcr === 9,
    );
    const expected = measured(9, 6, '', utf8([...'quiet debug\0'].map((c) => `${c}\0`).join('')));
    expect(event!.digest('sha256')).toEqual(expected.digest('sha256'));
  });

  it.each<[string, Partial<UkiBootInputs>, number[]]>([
    ['nothing special', {}, [5]],
    ['the partition table', { partitionTable: table }, []],
    ['signatures for PCR 11', { uki: uki(text('.pcrsig', '{}')) }, [9, 5]],
    ['their key', { uki: uki(text('.pcrpkey', 'key')) }, [9, 5]],
    ['a newer stub', { stubVersion: 256 }, [9, 5]],
  ])('what cannot be foreseen is said: %s', (_, change, pcrs) => {
    expect(predict(change).notPredicted.map(({ pcr }) => pcr)).toEqual(pcrs);
  });

  it('without any command line it is refused', () => {
    const bare = readUki(parsePe(fakePe([base[0]!, base[3]!])));
    expect(refusalAtOnce(() => predict({ uki: bare }))).toBe('MALFORMED');
    const parameters = { cmdline: 'quiet', addons: [] };
    expect(refusalAtOnce(() => predict({ uki: bare, parameters }))).toBe('accepted');
  });
});
