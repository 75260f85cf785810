import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { secureBootOf } from '#core/boot/secure-boot.js';
import { utf8 } from '#core/bytes.js';
import { efiGlobalVariable } from '#core/eventlog/efi-variable.js';
import { readVariableStore } from '#core/firmware/variable-store.js';
import { fakeVariableStore, volumeHeaderLength } from '../../fakes/variable-store.js';
import { refusalAtOnce } from '../../refusal.js';

const vendor = efiGlobalVariable;
const store = fakeVariableStore([
  { vendor, name: 'PK', data: utf8('old'), state: 0x3c },
  { vendor, name: 'PK', data: utf8('platform key') },
  { vendor, name: 'Lang', data: utf8('eng') },
]);

describe('variable store of OVMF (EDK II VariableFormat.h)', () => {
  it('has the variables in force, without those deleted', () => {
    expect(readVariableStore(store)).toEqual([
      { vendor, name: 'PK', data: utf8('platform key') },
      { vendor, name: 'Lang', data: utf8('eng') },
    ]);
    expect(readVariableStore(fakeVariableStore([]))).toEqual([]);
  });

  it('a value that is being replaced counts until the new one is written', () => {
    const replaced = { vendor, name: 'A', data: utf8('old'), state: 0x3e };
    const added = { vendor, name: 'A', data: utf8('new') };
    const value = (...variables: (typeof added)[]) =>
      readVariableStore(fakeVariableStore(variables)).map(({ data }) => data);
    expect(value(replaced)).toEqual([utf8('old')]);
    expect(value(replaced, added)).toEqual([utf8('new')]);
    expect(value(added, replaced)).toEqual([utf8('new')]);
  });

  const set = (offset: number, value: number) => {
    const out = store.slice();
    out[offset] = value;
    return out;
  };
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['another volume', set(16, 0)],
    ['no volume signature', set(40, 0)],
    ['a volume beyond the file', store.subarray(0, -1)],
    ['another format of variables', set(volumeHeaderLength, 0)],
    ['a store that is not formatted', set(volumeHeaderLength + 20, 0xff)],
    ['a store that is not healthy', set(volumeHeaderLength + 21, 0xff)],
    ['a store beyond its volume', set(volumeHeaderLength + 19, 1)],
    [
      'a variable twice',
      fakeVariableStore([
        { vendor, name: 'A', data: utf8('1') },
        { vendor, name: 'A', data: utf8('2') },
      ]),
    ],
    ['a variable beyond the store', set(volumeHeaderLength + 28 + 43, 1)],
    ['half a character', set(volumeHeaderLength + 28 + 36, 5)],
  ])('%s is refused', (_, bytes) => {
    expect(refusalAtOnce(() => readVariableStore(bytes))).toBe('MALFORMED');
  });

  it('every truncation and every flipped byte is read or refused with a code', () => {
    for (let length = 0; length < 400; length++) {
      refusalAtOnce(() => readVariableStore(store.subarray(0, length)));
    }
    fc.assert(
      fc.property(fc.nat(300), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        refusalAtOnce(() => readVariableStore(set(at, store[at]! ^ flip)));
      }),
      { numRuns: 500 },
    );
  });
});

const debian = '/usr/share/OVMF';
describe.skipIf(!existsSync(`${debian}/OVMF_VARS_4M.ms.fd`))(
  "variable stores of Debian's ovmf (skipped without that package)",
  () => {
    const read = (file: string) =>
      readVariableStore(new Uint8Array(readFileSync(`${debian}/${file}`)));

    it('with Microsoft keys Secure Boot is on; a fresh store has nothing', () => {
      const { state, pk, kek, db, dbx } = secureBootOf(read('OVMF_VARS_4M.ms.fd'));
      expect(state).toBe('on');
      expect([pk, kek, db, dbx].every(({ length }) => length > 0)).toBe(true);
      expect(read('OVMF_VARS_4M.fd')).toEqual([]);
      expect(secureBootOf([]).state).toBe('off');
    });
  },
);
