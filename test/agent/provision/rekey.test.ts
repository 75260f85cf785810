import { beforeEach, describe, expect, test } from 'vitest';
import { Cryptsetup } from '#agent/disk/cryptsetup.js';
import type { Disk } from '#agent/disk/disk.js';
import type { DiskFile } from '#agent/disk/disk-file.js';
import { LuksDisk } from '#agent/disk/luks.js';
import { VolumeDisk } from '#agent/disk/volume.js';
import { type ObtainedKey, obtainKey } from '#agent/provision/obtain.js';
import { type Rekeyed, type RekeyStep, rekey, rekeySteps } from '#agent/provision/rekey.js';
import { isZero } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import { crypto } from '#crypto';
import { contentsAfterPowerFailure, MemoryDisk } from '../../fakes/disk-file.js';
import { FakeKeyServer } from '../../fakes/key-server.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const cryptsetup = new Cryptsetup();
const installed = await cryptsetup.isInstalled();
const stateDir = temporaryFolder('rekey');

const backends: readonly (readonly [string, boolean, (file: DiskFile) => Promise<Disk>])[] = [
  ['volume', true, (file) => VolumeDisk.load(file)],
  [
    installed ? 'luks' : 'luks (cryptsetup is not installed)',
    installed,
    (file) => LuksDisk.load(file, { stateDir, mapperName: undefined, cryptsetup }),
  ],
];

/** The process ends here, without cleaning anything up. */
class Crash extends Error {}

describe.each(backends)('re-key of a disk: %s', (_, available, load) => {
  describe.skipIf(!available)('protocol.md s.6.4', () => {
    let server: FakeKeyServer;
    let file: MemoryDisk;

    beforeEach(async () => {
      server = new FakeKeyServer();
      file = new MemoryDisk(4 << 20);
      await boot(1);
    });

    async function boot(level: number): Promise<{ disk: Disk; obtained: ObtainedKey }> {
      const disk = await load(file);
      const requestId = crypto.randomBytes(16);
      const session = server.session(level);
      const obtained = await obtainKey(disk, session, {
        requestId,
        keyId: undefined,
        purpose: 'disk',
      });
      await session.confirm(obtained.released);
      return { disk, obtained };
    }

    /** Boots at a level and re-keys where it is advised. */
    async function bootAndRekey(
      level: number,
      after?: (step: RekeyStep) => void,
    ): Promise<Rekeyed | undefined> {
      const { disk, obtained } = await boot(level);
      try {
        if (obtained.rekeyTo === undefined) return undefined;
        return await rekey({
          disk,
          opened: { slot: obtained.slot!, key: obtained.released.key },
          target: obtained.rekeyTo,
          session: server.session(level),
          ...(after === undefined ? {} : { after }),
        });
      } finally {
        await disk.close();
      }
    }

    const svns = async () => {
      const disk = await load(file);
      const found = disk.slots?.map((slot) => slot.token.svn);
      await disk.close();
      return found;
    };

    test('takes its steps in order and leaves the new key alone', async () => {
      const steps: RekeyStep[] = [];
      server.calls.length = 0;
      const rekeyed = await bootAndRekey(3, (step) => steps.push(step));
      expect(steps).toEqual(rekeySteps);
      expect(rekeyed).toMatchObject({
        unfinished: undefined,
        opened: { slot: { token: { svn: 3 } } },
      });
      expect(await svns()).toEqual([3]);
      expect(server.onlyKey).toMatchObject({ floor: 3, retired: 3 });
      expect(server.calls).toEqual([
        'acquire 1 boot',
        'confirm 1',
        'acquire 3 rekey',
        'confirm 3',
        'update 3 undefined',
        'update 3 3',
      ]);
      expect(await bootAndRekey(3)).toBeUndefined();
    });

    test.each(rekeySteps)(
      'killed after "%s": the next boot opens the disk and ends the job',
      async (at) => {
        const crash = bootAndRekey(3, (step) => {
          if (step === at) throw new Crash();
        });
        await expect(crash).rejects.toThrow(Crash);
        await bootAndRekey(3);
        expect(await svns()).toEqual([3]);
        expect(server.onlyKey).toMatchObject({ floor: 3, retired: 3 });
      },
    );

    test.each(rekeySteps)(
      'killed after "%s" on the way to a new root key: the next boot ends it, the old one is retired',
      async (at) => {
        server.onlyKey.rootKeys.push(crypto.randomBytes(32));
        const crash = bootAndRekey(1, (step) => {
          if (step === at) throw new Crash();
        });
        await expect(crash).rejects.toThrow(Crash);
        await bootAndRekey(1);
        const { disk, obtained } = await boot(1);
        expect(disk.slots!.map(({ token }) => token.epoch)).toEqual([2]);
        expect(obtained.released).toMatchObject({ epoch: 2, svn: 1 });
        expect(server.onlyKey.rootKeys[0]).toBeUndefined();
        await disk.close();
      },
    );

    test('interrupted on the way to ever newer keys: the header never fills up', async () => {
      for (const level of [2, 3, 4, 5, 6, 7]) {
        const crash = bootAndRekey(level, (step) => {
          if (step === 'new key opens') throw new Crash();
        });
        await expect(crash).rejects.toThrow(Crash);
        server.onlyKey.rootKeys.push(crypto.randomBytes(32));
      }
      await bootAndRekey(7);
      expect(await svns()).toEqual([7]);
      const { disk, obtained } = await boot(7);
      expect(obtained.released).toMatchObject({ svn: 7, epoch: 7 });
      await disk.close();
    });

    test('advised with no better key to be had: nothing is touched', async () => {
      const { disk, obtained } = await boot(1);
      const before = file.content.slice();
      const opened = { slot: obtained.slot!, key: obtained.released.key };
      const done = await rekey({ disk, opened, target: 1, session: server.session(1) });
      expect(done).toBeUndefined();
      expect(file.content).toEqual(before);
      await disk.close();
    });

    test.each(rekeySteps)('killed again and again after "%s": still opens', async (at) => {
      for (let i = 0; i < 3; i++) {
        await bootAndRekey(3, (step) => {
          if (step === at) throw new Crash();
        }).catch((error) => expect(error).toBeInstanceOf(Crash));
      }
      const { disk } = await boot(3);
      await disk.close();
    });

    test.each(['acquired', 'slot added', 'new key opens'] as const)(
      'killed after "%s" and booted at the old level: the old key opens',
      async (at) => {
        await bootAndRekey(3, (step) => {
          if (step === at) throw new Crash();
        }).catch(() => {});
        const { disk, obtained } = await boot(1);
        expect(obtained.released.svn).toBe(1);
        await disk.close();
      },
    );

    test('power fails at any write: a slot opens with a key that is still served', async () => {
      const before = file.content.slice();
      file.writes.length = 0;
      const { floor, retired } = server.onlyKey;
      const states = new Map<number, { floor: number; retired: number }>();
      await bootAndRekey(3, () => {
        const { floor, retired } = server.onlyKey;
        states.set(file.writes.length, { floor, retired });
      });
      let written = 0;
      for (const { content } of contentsAfterPowerFailure(before, file.writes)) {
        // What the server had been told by then: the newest state before this write.
        const known = [...states].filter(([writes]) => writes <= Math.floor(written / 4));
        Object.assign(server.onlyKey, known.at(-1)?.[1] ?? { floor, retired });
        file = new MemoryDisk(content);
        const { disk } = await boot(3);
        await disk.close();
        written += 1;
      }
    });

    test.each<[string, 'acquire' | 'update', ErrorCode]>([
      ['the new key', 'acquire', 'SVN_ABOVE_LEVEL'],
      ['the new key, by losing the stream', 'acquire', 'UNAVAILABLE'],
      ['the floor', 'update', 'NOT_ALLOWED'],
      ['the floor, by losing the stream', 'update', 'UNAVAILABLE'],
    ])('a Key Server that refuses %s leaves the old key in force', async (__, method, code) => {
      const { disk, obtained } = await boot(3);
      const opened = { slot: obtained.slot!, key: obtained.released.key };
      const released: Uint8Array[] = [];
      server.onRelease = (key) => released.push(key);
      server.failNext = { method, code, tookEffect: false };
      const work = rekey({ disk, opened, target: 3, session: server.session(3) });
      expect(await refusalOf(work)).toBe(code);
      expect(await disk.testOpen(opened.slot, opened.key)).toBe(true);
      expect(released.every(isZero)).toBe(true);
      await disk.close();
      await bootAndRekey(3);
      expect(await svns()).toEqual([3]);
    });

    test('an answer that is lost after the floor was raised does no harm', async () => {
      server.failNext = { method: 'update', code: 'UNAVAILABLE', tookEffect: true };
      expect(await refusalOf(bootAndRekey(3))).toBe('UNAVAILABLE');
      expect(await svns()).toEqual([3, 1]);
      await bootAndRekey(3);
      expect(await svns()).toEqual([3]);
    });

    test('a clearing up that fails is told, and the new key is the one in force', async () => {
      const { disk, obtained } = await boot(3);
      const opened = { slot: obtained.slot!, key: obtained.released.key };
      const rekeyed = await rekey({
        disk,
        opened,
        target: 3,
        session: server.session(3),
        after: (step) => {
          if (step === 'floor raised') {
            server.failNext = { method: 'update', code: 'UNAVAILABLE', tookEffect: false };
          }
        },
      });
      expect(rekeyed?.unfinished?.code).toBe('UNAVAILABLE');
      expect(await disk.testOpen(rekeyed!.opened.slot, rekeyed!.opened.key)).toBe(true);
      await disk.close();
      expect(await svns()).toEqual([3, 1]);
      await bootAndRekey(3);
      expect(await svns()).toEqual([3]);
      expect(server.onlyKey).toMatchObject({ floor: 3, retired: 3 });
    });

    test('a slot of the target SVN that opens with no key makes room for one that does', async () => {
      const { disk, obtained } = await boot(1);
      const opener = { slot: obtained.slot!, key: obtained.released.key };
      const token = { ...obtained.slot!.token, svn: 3 };
      await disk.addSlot(opener, crypto.randomBytes(32), token);
      await disk.close();
      await bootAndRekey(3);
      expect(await svns()).toEqual([3]);
      expect((await boot(3)).obtained.released.svn).toBe(3);
    });
  });
});
