import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { VolumeDisk } from '#agent/disk/volume.js';
import { CrashWorld, type Death, deathText } from './crashes.js';

// The same with LUKS2 and with a real agent process that is killed: npm run test:faults.

let world: CrashWorld;
let counts: Readonly<Record<Death['at'], number>>;
beforeAll(async () => {
  world = await CrashWorld.make((file) => VolumeDisk.load(file));
  counts = await world.count();
});

const kinds = [
  ['request', ['before', 'after']],
  ['write', ['before', 'half', 'after']],
  ['commit', ['before', 'after']],
] as const;

describe('a re-key to another SVN and epoch, ended anywhere (I7 of protocol.md s.6.9)', () => {
  it('has every kind of point to be ended at', () => {
    expect(counts.request).toBeGreaterThanOrEqual(6);
    expect(counts.write).toBeGreaterThanOrEqual(2);
    expect(counts.commit).toBeGreaterThanOrEqual(4);
  });

  it.each(kinds)(
    'at each %s: a slot opens with a key that is served; the next boot ends it',
    async (at, whens) => {
      for (let count = 1; count <= counts[at]; count++) {
        for (const when of whens) {
          const life = world.begin();
          await life.boot({ at, count, when });
          await life.expectOpens();
          await life.boot();
          await life.expectDone();
        }
      }
    },
  );

  it('again and again, at points in any order', async () => {
    const death: fc.Arbitrary<Death> = fc.record({
      at: fc.constantFrom('request', 'write', 'commit'),
      count: fc.integer({ min: 1, max: 9 }),
      when: fc.constantFrom('before', 'half', 'after'),
    });
    const deaths = fc
      .array(death, { minLength: 2, maxLength: 5 })
      .map((all) => Object.assign(all, { toString: () => all.map(deathText).join(', ') }));
    await fc.assert(
      fc.asyncProperty(deaths, async (all) => {
        const life = world.begin();
        for (const one of all) {
          await life.boot(one);
          await life.expectOpens();
        }
        await life.boot();
        await life.expectDone();
      }),
      { numRuns: 25 },
    );
  });
});
