import { describe, expect, test } from 'vitest';
import type { Disk, DiskSlot, DiskToken } from '#agent/disk/disk.js';
import type { DiskFile } from '#agent/disk/disk-file.js';
import { equalBytes } from '#core/bytes.js';
import { crypto } from '#crypto';
import { contentsAfterPowerFailure, MemoryDisk } from '../fakes/disk-file.js';
import { refusalOf } from '../refusal.js';
import { canary } from '../run-folder.js';

/** A Security Key, watched for in everything that the run writes. */
export function securityKey(length = 32): Uint8Array {
  const key = crypto.randomBytes(length);
  canary(key);
  return key;
}

const keyId = crypto.randomBytes(16);
const token = (svn: number): DiskToken => ({ keyId, svn, epoch: 1 });
const diskBytes = 4 << 20;

/** What any {@link Disk} must do; `load` reads a disk anew, as after a reboot. */
export function diskContract(name: string, load: (file: DiskFile) => Promise<Disk>): void {
  const blank = async () => load(new MemoryDisk(diskBytes));

  async function formatted() {
    const file = new MemoryDisk(diskBytes);
    const disk = await load(file);
    const key = securityKey();
    const slot = await disk.format(key, token(1));
    return { file, disk, key, slot };
  }

  async function twoSlots() {
    const first = await formatted();
    const newKey = securityKey();
    const newSlot = await first.disk.addSlot(first, newKey, token(2));
    return { ...first, newKey, newSlot };
  }

  describe(`${name}: disk contract`, () => {
    test('a new disk is unformatted', async () => {
      const disk = await blank();
      expect(disk.slots).toBeUndefined();
      await disk.close();
    });

    test('format makes one slot, with its token, that survives a reboot', async () => {
      const { file, disk, key, slot } = await formatted();
      await disk.close();
      const again = await load(file);
      expect(again.slots).toHaveLength(1);
      expect(again.slots![0]).toMatchObject({ id: slot.id, token: token(1) });
      expect(await again.open({ slot, key })).toBe('proved');
      await again.close();
    });

    test('format refuses a formatted disk and leaves it as it is', async () => {
      const { file, disk, key, slot } = await formatted();
      const before = file.content.slice();
      expect(await refusalOf(disk.format(securityKey(), token(1)))).toBe('DISK');
      expect(equalBytes(file.content, before)).toBe(true);
      expect(await disk.testOpen(slot, key)).toBe(true);
      await disk.close();
    });

    test('another key opens nothing, nor does the key with a byte more or less', async () => {
      const { disk, key, slot } = await formatted();
      const wrong = [securityKey(), key.subarray(0, 31), new Uint8Array([...key, 1])];
      for (const other of wrong) {
        expect(await disk.testOpen(slot, other)).toBe(false);
        expect(await refusalOf(disk.open({ slot, key: other }))).toBe('DISK');
      }
      await disk.close();
    });

    test.each([16, 24, 48, 64])('a Security Key may be %i bytes long', async (length) => {
      const disk = await blank();
      const key = securityKey(length);
      const slot = await disk.format(key, token(1));
      const newKey = securityKey(length);
      const newSlot = await disk.addSlot({ slot, key }, newKey, token(2));
      expect(await disk.testOpen(slot, key)).toBe(true);
      expect(await disk.testOpen(newSlot, newKey)).toBe(true);
      expect(await disk.testOpen(newSlot, key)).toBe(false);
      await disk.close();
    });

    test('a second slot opens beside the first, newest SVN first', async () => {
      const { file, disk, key, slot, newKey, newSlot } = await twoSlots();
      await disk.close();
      const again = await load(file);
      expect(again.slots?.map((s) => s.token)).toEqual([token(2), token(1)]);
      expect(await again.open({ slot, key })).toBe('proved');
      expect(await again.open({ slot: newSlot, key: newKey })).toBe('proved');
      expect(await again.testOpen(slot, newKey)).toBe(false);
      await again.close();
    });

    test('a slot is added only by a key that opens', async () => {
      const { file, disk, slot } = await formatted();
      const before = file.content.slice();
      const opener = { slot, key: securityKey() };
      expect(await refusalOf(disk.addSlot(opener, securityKey(), token(2)))).toBe('DISK');
      expect(equalBytes(file.content, before)).toBe(true);
      await disk.close();
    });

    test('slots run out with an error, not with damage', async () => {
      const { disk, key, slot } = await formatted();
      for (const svn of [2, 3, 4]) await disk.addSlot({ slot, key }, securityKey(), token(svn));
      expect(await refusalOf(disk.addSlot({ slot, key }, securityKey(), token(5)))).toBe('DISK');
      expect(disk.slots).toHaveLength(4);
      expect(await disk.open({ slot, key })).toBe('proved');
      await disk.close();
    });

    test('a removed slot opens no more, also after a reboot', async () => {
      const { file, disk, key, slot, newKey, newSlot } = await twoSlots();
      const before = await load(new MemoryDisk(file.content));
      await disk.removeSlot(slot, { slot: newSlot, key: newKey });
      expect(disk.slots).toHaveLength(1);
      await disk.close();
      const again = await load(file);
      expect(again.slots?.map((s) => s.token)).toEqual([token(2)]);
      expect(await again.testOpen(slot, key)).toBe(false);
      expect(await again.open({ slot: newSlot, key: newKey })).toBe('proved');
      // The old header is gone from the disk, not only hidden behind a newer one.
      expect(await before.testOpen(slot, key)).toBe(true);
      await Promise.all([again.close(), before.close()]);
    });

    test('the last key is never removed', async () => {
      const { disk, key, slot, newKey, newSlot } = await twoSlots();
      const attempts: (readonly [DiskSlot, { slot: DiskSlot; key: Uint8Array }])[] = [
        [slot, { slot, key }],
        [slot, { slot: newSlot, key }],
        [newSlot, { slot, key: newKey }],
      ];
      for (const [victim, opener] of attempts) {
        expect(await refusalOf(disk.removeSlot(victim, opener))).toBe('DISK');
      }
      expect(await disk.testOpen(slot, key)).toBe(true);
      expect(await disk.testOpen(newSlot, newKey)).toBe(true);
      await disk.close();
    });

    test('what the provider writes to the disk after load changes nothing', async () => {
      const { file, disk, key, slot } = await formatted();
      file.content.fill(0xff, 0, 8192);
      expect(await disk.testOpen(slot, key)).toBe(true);
      await disk.close();
    });

    test.each([
      ['random bytes', () => crypto.randomBytes(64)],
      ['ones', () => new Uint8Array(64).fill(0xff)],
      ['an old LUKS1 magic', () => Buffer.from('4c554b53babe0001', 'hex')],
    ])('a disk that begins with %s is refused, not formatted', async (_, start) => {
      const file = new MemoryDisk(diskBytes);
      file.content.set(start());
      expect(await refusalOf(load(file))).toBe('HEADER_REFUSED');
    });

    test('a power failure while formatting leaves a blank or a formatted disk', async () => {
      const { file, disk, key } = await formatted();
      await disk.close();
      for (const { name: at, content } of contentsAfterPowerFailure(
        new Uint8Array(diskBytes),
        file.writes,
      )) {
        const again = await load(new MemoryDisk(content));
        const slot = again.slots?.[0];
        if (slot === undefined) await again.format(key, token(1));
        else expect([at, await again.testOpen(slot, key)]).toEqual([at, true]);
        await again.close();
      }
    });

    test('a power failure while adding a slot never costs the old key', async () => {
      const first = await formatted();
      const before = first.file.content.slice();
      first.file.writes.length = 0;
      const newKey = securityKey();
      await first.disk.addSlot(first, newKey, token(2));
      await first.disk.close();
      for (const { name: at, content } of contentsAfterPowerFailure(before, first.file.writes)) {
        const again = await load(new MemoryDisk(content));
        const opens = await again.testOpen(first.slot, first.key);
        const added = again.slots!.find((s) => s.token.svn === 2);
        const newOpens = added === undefined || (await again.testOpen(added, newKey));
        expect([at, opens, newOpens]).toEqual([at, true, true]);
        await again.close();
      }
    });

    test('a power failure while removing a slot never costs the new key', async () => {
      const { file, disk, slot, newKey, newSlot } = await twoSlots();
      const before = file.content.slice();
      file.writes.length = 0;
      await disk.removeSlot(slot, { slot: newSlot, key: newKey });
      await disk.close();
      for (const { name: at, content } of contentsAfterPowerFailure(before, file.writes)) {
        const again = await load(new MemoryDisk(content));
        expect([at, await again.testOpen(newSlot, newKey)]).toEqual([at, true]);
        await again.close();
      }
    });

    test('a disk that fails says so, and what was whole stays whole', async () => {
      const { file, disk, key, slot } = await formatted();
      file.writesLeft = 0;
      expect(await refusalOf(disk.addSlot({ slot, key }, securityKey(), token(2)))).toBe('DISK');
      await disk.close();
      const again = await load(new MemoryDisk(file.content));
      expect(await again.testOpen(slot, key)).toBe(true);
      await again.close();
    });
  });
}
