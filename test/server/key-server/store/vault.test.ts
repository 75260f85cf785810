import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createVault, openVault } from '#server/key-server/store/vault/file-vault.js';
import type { VaultContent } from '#server/key-server/store/vault/vault.js';
import { killedAt } from '../../../fakes/killed-vault.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';

const id = new Uint8Array(16).fill(7);
const filled = (byte: number, length = 60) => new Uint8Array(length).fill(byte);
const holds = (folder: string, byte: number) => bytesIn(folder).includes(Buffer.from(filled(byte)));
const content = (...wrapped: number[]): VaultContent => ({
  master: filled(9, 5),
  keks: wrapped.map((byte, i) => ({ name: `t${i}`, version: 1, wrapped: filled(byte) })),
  backedUp: 0,
});

async function newVault(first = content(1)): Promise<string> {
  const folder = join(temporaryFolder('vault'), 'vault');
  await createVault(folder, id, first);
  return folder;
}

/** Everything that lies in the folder. */
function bytesIn(folder: string): Buffer {
  return Buffer.concat(readdirSync(folder).map((name) => readFileSync(join(folder, name))));
}

describe('a vault', () => {
  it('keeps its content and its slots over a restart', async () => {
    const folder = await newVault();
    const vault = await openVault(folder);
    await vault.update((now) => ({ ...now, keks: [...now.keks, ...content(1, 2).keks.slice(1)] }));
    const first = await vault.reserve(3, (ref) => filled(100 + ref));
    expect(vault.reserveSync(1, (ref) => filled(100 + ref))).toBe(first + 3);
    await vault.close();
    const again = await openVault(folder);
    expect(again.id).toEqual(id);
    expect(again.content).toEqual(content(1, 2));
    for (let ref = 0; ref < 4; ref++) expect(again.read(ref)).toEqual(filled(100 + ref));
    // Slots are never fewer: one that is not there was lost with the end of the file.
    expect(await refusalOf(() => again.read(4))).toBe('STORE_CORRUPT');
    await again.close();
  });

  it('is made once, and never by opening', async () => {
    const folder = await newVault();
    expect(await refusalOf(createVault(folder, id, content(2)))).toBe('ALREADY_EXISTS');
    expect(await refusalOf(openVault(join(folder, 'other')))).toBe('STORE_MISSING');
  });

  it('what is destroyed or replaced lies in no file any more', async () => {
    const folder = await newVault(content(0x51, 0x52));
    const vault = await openVault(folder);
    await vault.reserve(2, (ref) => filled(0x61 + ref));
    await vault.destroy([0]);
    await vault.update(() => content(0x52));
    const found = [0x51, 0x52, 0x61, 0x62].map((byte) => holds(folder, byte));
    expect(found).toEqual([false, true, false, true]);
    await vault.close();
  });

  it('gives back what was reserved and not used', async () => {
    const folder = await newVault();
    const vault = await openVault(folder);
    await vault.reserve(8, (ref) => filled(ref + 1));
    await vault.release([2, 5, 6, 7]);
    expect(readFileSync(join(folder, 'erase-keys')).length).toBe(5 * 64);
    expect(vault.read(2)).toBeUndefined();
    expect(vault.read(4)).toEqual(filled(5));
    expect(await vault.reserve(1, () => filled(0x70))).toBe(5);
    await vault.close();
  });

  it('a torn last slot is dropped: it was never acknowledged', async () => {
    const folder = await newVault();
    const vault = await openVault(folder);
    await vault.reserve(1, () => filled(1));
    await vault.close();
    appendFileSync(join(folder, 'erase-keys'), filled(2, 63));
    const again = await openVault(folder);
    expect(await again.reserve(1, () => filled(3))).toBe(1);
    expect([again.read(0), again.read(1)]).toEqual([filled(1), filled(3)]);
    await again.close();
  });

  it('says of any damaged byte that the file is damaged', async () => {
    const folder = await newVault();
    const path = join(folder, 'keks');
    const whole = readFileSync(path);
    for (let i = 0; i < whole.length; i++) {
      const damaged = Buffer.from(whole);
      damaged[i]! ^= 0x10;
      writeFileSync(path, damaged);
      expect(await refusalOf(openVault(folder))).toBe('STORE_CORRUPT');
    }
  });

  it('a copy has everything, and goes only into an empty folder', async () => {
    const folder = await newVault(content(1, 2));
    const vault = await openVault(folder);
    await vault.reserve(2, (ref) => filled(ref + 1));
    const copy = join(temporaryFolder('vault'), 'copy');
    await vault.copyTo(copy);
    expect(await refusalOf(vault.copyTo(copy))).toBe('ALREADY_EXISTS');
    const copied = await openVault(copy);
    expect(copied.content).toEqual(content(1, 2));
    expect([copied.read(0), copied.read(1)]).toEqual([filled(1), filled(2)]);
    await copied.close();
    await vault.close();
  });
});

describe('a vault killed at every step (issue 4: kill -9 at every write point)', () => {
  const before = content(0x31, 0x32);
  const after = content(0x31, 0x33);

  it('of an update: it has the old content or the new one, and of the other nothing is left', async () => {
    const outcomes: string[] = [];
    for (let at = 1; ; at++) {
      const folder = await newVault(before);
      const files = killedAt(at);
      const refusal = await refusalOf(
        (async () => (await openVault(folder, files)).update(() => after))(),
      );
      const vault = await openVault(folder);
      const isNew = vault.content.keks[1]!.wrapped[0] === 0x33;
      expect(vault.content).toEqual(isNew ? after : before);
      // What was acknowledged is there.
      if (refusal === 'accepted') expect(isNew).toBe(true);
      expect(holds(folder, isNew ? 0x32 : 0x33)).toBe(false);
      expect(readdirSync(folder).sort()).toEqual(['erase-keys', 'keks']);
      await vault.close();
      outcomes.push(isNew ? 'new' : 'old');
      if (refusal === 'accepted') break;
      expect(refusal).toBe('STORE_WRITE');
    }
    expect(outcomes).toEqual(['old', 'old', 'old', 'new', 'new', 'new']);
  });

  it('after a failed update it refuses further ones: what the disk holds is unknown', async () => {
    const vault = await openVault(await newVault(before), killedAt(2));
    expect(await refusalOf(vault.update(() => after))).toBe('STORE_WRITE');
    expect(await refusalOf(vault.update(() => after))).toBe('STORE_WRITE');
    await vault.close();
  });

  it('of a destruction: what is not destroyed yet is whole, and the repetition finishes', async () => {
    for (let at = 1; at <= 3; at++) {
      const folder = await newVault();
      const first = await openVault(folder);
      await first.reserve(3, (ref) => filled(0x41 + ref));
      await first.close();
      const killed = await openVault(folder, killedAt(at));
      await refusalOf(killed.destroy([0, 2]));
      const vault = await openVault(folder);
      for (const ref of [0, 2]) {
        expect([undefined, filled(0x41 + ref)]).toContainEqual(vault.read(ref));
      }
      await vault.destroy([0, 2]);
      expect([0, 1, 2].map((ref) => vault.read(ref)?.[0])).toEqual([undefined, 0x42, undefined]);
      await vault.close();
    }
  });

  it('of its making: init can be repeated in another folder, and half a vault is none', async () => {
    for (const at of [1, 2]) {
      const folder = join(temporaryFolder('vault'), 'vault');
      expect(await refusalOf(createVault(folder, id, before, killedAt(at)))).toBe('STORE_WRITE');
      expect(await refusalOf(openVault(folder))).toBe('STORE_MISSING');
    }
  });
});
