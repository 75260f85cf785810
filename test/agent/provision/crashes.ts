import pino from 'pino';
import { expect } from 'vitest';
import type { Disk, DiskToken } from '#agent/disk/disk.js';
import type { DiskFile } from '#agent/disk/disk-file.js';
import { exchange } from '#agent/provision/exchange.js';
import { obtainKey } from '#agent/provision/obtain.js';
import type { KeySession } from '#agent/session/key-session.js';
import { StatusBoard } from '#agent/status.js';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { crypto } from '#crypto';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { MemoryDisk } from '../../fakes/disk-file.js';
import { FaultyStore } from '../../fakes/faulty-store.js';
import { realSession } from '../../fakes/real-session.js';
import { canary } from '../../run-folder.js';
import { orderOn } from '../../server/key-server/lifecycle/orders.js';
import { MemoryPlace } from '../../server/key-server/memory-place.js';
import { grantOf, signingKey, withTenant } from '../../server/key-server/state.js';

// The real exchange of the agent with a real Key Server's decisions, where agent or server ends at a
// point that the test names. Nothing is told to the code under test.

/** Where one of them ends. Points are counted from 1. */
export interface Death {
  /** A request of the agent, a write to its disk, or a commit of the Key Server. */
  readonly at: 'request' | 'write' | 'commit';
  readonly count: number;
  /** Before it took effect, in the middle of the bytes, or after it did but before it was told. */
  readonly when: 'before' | 'half' | 'after';
}

export const deathText = ({ at, count, when }: Death) => `${when} ${at} ${count}`;

class Killed extends Error {}

/** Counts, and ends the agent where it is told to. */
class Reaper {
  readonly counts = { request: 0, write: 0, commit: 0 };
  readonly #death: Death | undefined;

  constructor(death: Death | undefined) {
    this.#death = death;
  }

  /** @param half does a part of it */
  async run<T>(
    at: 'request' | 'write',
    work: () => Promise<T>,
    half?: () => Promise<void>,
  ): Promise<T> {
    this.counts[at] += 1;
    const death = this.#death;
    if (death?.at !== at || death.count !== this.counts[at]) return work();
    if (death.when === 'after') await work();
    if (death.when === 'half') await half?.();
    throw new Killed(deathText(death));
  }

  over(session: KeySession): KeySession {
    return {
      ...session,
      alloc: (...args) => this.run('request', () => session.alloc(...args)),
      acquire: (...args) => this.run('request', () => session.acquire(...args)),
      update: (...args) => this.run('request', () => session.update(...args)),
      confirm: (...args) => this.run('request', () => session.confirm(...args)),
    };
  }

  disk(file: MemoryDisk): DiskFile {
    return {
      path: file.path,
      read: (offset, length) => file.read(offset, length),
      write: (offset, bytes) => {
        const part = bytes.subarray(0, bytes.length >> 1);
        const whole = () => file.write(offset, bytes);
        return this.run('write', whole, () => file.write(offset, part));
      },
      close: () => file.close(),
    };
  }
}

export type Load = (file: DiskFile) => Promise<Disk>;

const levelBefore = 1;
const levelAfter = 3;

/** A machine with its disk, and the Key Server that it gets its key from. */
export class CrashWorld {
  readonly #load: Load;
  readonly #place: MemoryPlace;
  readonly #content: Uint8Array;
  readonly #keyId: Uint8Array;

  private constructor(load: Load, place: MemoryPlace, content: Uint8Array, keyId: Uint8Array) {
    this.#load = load;
    this.#place = place;
    this.#content = content;
    this.#keyId = keyId;
  }

  /**
   * A disk under the key of SVN 1 and epoch 1, whose key the tenant then rotates: at the next boot
   * at level 3 it is to be moved to SVN 3 of epoch 2, and epoch 1 to be retired.
   */
  static async make(load: Load): Promise<CrashWorld> {
    const place = await MemoryPlace.make();
    const state = await place.open();
    await withTenant(state);
    const file = new MemoryDisk(4 << 20);
    const machine = new Machine(load, file);
    const { keyId } = await machine.boot(state, levelBefore);
    await state.keyAdmin.rotate({ ...orderOn(keyId), agentsRetireEpochs: true });
    await state.close();
    return new CrashWorld(load, place, file.content, keyId);
  }

  /** How many requests, writes and commits an undisturbed boot has. */
  async count(): Promise<Readonly<Record<Death['at'], number>>> {
    const life = this.begin();
    const counts = await life.boot();
    await life.expectDone();
    return counts;
  }

  begin(): Life {
    const machine = new Machine(this.#load, new MemoryDisk(this.#content));
    return new Life(machine, this.#place.copy(), this.#keyId);
  }
}

/** One course of events in a world. */
export class Life {
  readonly #machine: Machine;
  readonly #place: MemoryPlace;
  readonly #keyId: Uint8Array;

  constructor(machine: Machine, place: MemoryPlace, keyId: Uint8Array) {
    this.#machine = machine;
    this.#place = place;
    this.#keyId = keyId;
  }

  /** Boots the machine at its new level, with the re-key that it is advised to; perhaps to an end. */
  async boot(death?: Death): Promise<Readonly<Record<Death['at'], number>>> {
    const reaper = new Reaper(death);
    let store: FaultyStore | undefined;
    const at = death?.at === 'commit' ? death.count : 0;
    const state = await this.#place.open((inner) => {
      store = new FaultyStore(inner, at, death?.when === 'after' ? 'fails after' : 'fails before');
      return store;
    });
    try {
      await this.#machine.boot(state, levelAfter, reaper);
    } catch (error) {
      if (death === undefined) throw error;
      // The Key Server's own end is told to the agent as an error that time cures.
      if (!(error instanceof Killed)) expect(error).toMatchObject({ code: 'STORE_WRITE' });
    }
    await state.close();
    return { ...reaper.counts, commit: store!.commits };
  }

  /**
   * I7: a slot opens with a key that agents may fetch, at the level of this machine and at the
   * lowest that the floor admits.
   */
  async expectOpens(): Promise<void> {
    const state = await this.#place.open();
    const { svnFloor } = await state.keys.get('acme', this.#keyId);
    for (const level of new Set([svnFloor, levelAfter])) await this.#machine.open(state, level);
    await state.close();
  }

  /** The one slot is of the new key, and nothing older is served. */
  async expectDone(): Promise<void> {
    const state = await this.#place.open();
    expect(await this.#machine.tokens()).toEqual([{ keyId: this.#keyId, svn: 3, epoch: 2 }]);
    const { svnFloor, svnRetired, epochs } = await state.keys.get('acme', this.#keyId);
    expect([svnFloor, svnRetired, epochs.map(({ epoch }) => epoch)]).toEqual([3, 3, [2]]);
    await state.close();
  }
}

class Machine {
  readonly #load: Load;
  readonly #file: MemoryDisk;
  readonly #requestId = crypto.randomBytes(16);

  constructor(load: Load, file: MemoryDisk) {
    this.#load = load;
    this.#file = file;
  }

  async boot(state: KeyServerState, level: number, reaper = new Reaper(undefined)) {
    const disk = await this.#load(reaper.disk(this.#file));
    try {
      const tenantKey = await signingKey();
      const status = new StatusBoard(() => 0);
      const inUse = await exchange({
        config: { purpose: 'disk', rekey: 'auto' },
        keyId: undefined,
        configDocument: encodeConfigDocument({
          tenantId: 'acme',
          cvmName: 'web-1',
          keyServers: [new Uint8Array(32)],
          policyAnchor: thumbprint(ecPublicKey(tenantKey.curve, tenantKey.publicPoint)),
        }),
        disk,
        requestId: this.#requestId,
        connect: async () => reaper.over(await sessionAt(state, level)),
        status,
        log: pino({ level: 'silent' }),
      });
      canary(inUse.key);
      return inUse;
    } finally {
      await disk.close();
    }
  }

  /** Only opens the disk; changes nothing. */
  async open(state: KeyServerState, level: number): Promise<void> {
    const disk = await this.#load(this.#file);
    const session = await sessionAt(state, level);
    const request = { requestId: this.#requestId, keyId: undefined, purpose: 'disk' } as const;
    const { action } = await obtainKey(disk, session, request);
    expect(action).toBe('opened');
    await disk.close();
  }

  async tokens(): Promise<readonly DiskToken[] | undefined> {
    const disk = await this.#load(this.#file);
    const tokens = disk.slots?.map(({ token }) => token);
    await disk.close();
    return tokens;
  }
}

async function sessionAt(state: KeyServerState, level: number): Promise<KeySession> {
  const policy = await state.policies.get('acme', 'web', 0);
  return realSession(state, grantOf(policy, level), await signingKey());
}
