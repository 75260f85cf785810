import { cpSync, existsSync } from 'node:fs';
import { fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type {
  KeyServerState,
  ReleasedKey,
  SessionGrant,
} from '#server/key-server/release/contract.js';
import { checkStore } from '#server/key-server/upkeep/check.js';
import { withStoreAtRest } from '#server/key-server/upkeep/open.js';
import {
  call,
  grantOf,
  newKey,
  optionsOf,
  type Place,
  requestId,
} from '../server/key-server/state.js';

export const levelCount = 6;
export const destroyDelaySeconds = 1;

/** A Key Server that has seen something, and what was acknowledged of it. */
export interface World {
  readonly place: Place;
  /** Digests of Security Keys as they were released, by KeyID and SVN: "hex svn". */
  readonly released: ReadonlyMap<string, string>;
  readonly active: Uint8Array;
  readonly preActive: { readonly keyId: Uint8Array; readonly kcv: Uint8Array };
  /** An active key that its tenant rotates and suspends. */
  readonly other: Uint8Array;
  /** A key with the order to destroy it, signed. */
  readonly doomed: { readonly keyId: Uint8Array; readonly order: Uint8Array };
  /** Version 3 of the policy, signed: raises the floor to 2. */
  readonly nextPolicy: Uint8Array;
  readonly newTenant: Uint8Array;
  /** How far the clock of every copy is ahead of the original's; milliseconds. */
  readonly clock: { ahead: number };
}

/** A place whose clock goes with that of its world, from its begin. */
export function placeIn({ place, clock }: World, folder: string): Place {
  const begin = place.now;
  clock.ahead = 0;
  return Object.defineProperty({ ...place, folder }, 'now', { get: () => begin + clock.ahead });
}

/** Tells whether two keys are the same without telling them. */
export const digestOf = (securityKey: Uint8Array) => toHex(crypto.hash('sha256', securityKey));

/** Everything that a store is on disk: its folder, and what is beside it. */
const parts = ['', '.head', '.vault'];

export function copyStore(from: string, to: string): void {
  for (const part of parts.filter((each) => existsSync(from + each))) {
    cpSync(from + part, to + part, { recursive: true });
  }
}

/** A session of acme that proves the highest level. */
export async function grantIn(state: KeyServerState): Promise<SessionGrant> {
  return grantOf(await state.policies.get('acme', 'web', 0), levelCount);
}

/** What a tenant can see, without the log; two stores are the same where this is. */
export async function seen(state: KeyServerState) {
  const page = { pageSize: 100, pageToken: '' };
  const tenants = (await state.tenants.list(page)).items;
  const all = [];
  for (const { tenantId, registered } of tenants) {
    const policies = (await state.policies.list(tenantId, page)).items;
    const keys = (await state.keys.list(tenantId, page)).items;
    all.push({
      tenantId,
      registered,
      policies: policies.map(({ policy, digest }) => [policy.version, toHex(digest)]),
      keys: keys.map((key) => ({
        ...key,
        keyId: toHex(key.keyId),
        released: 0,
        // Where the log has it depends on what was refused before.
        destruction: key.destruction && { ...key.destruction, logIndex: undefined },
      })),
    });
  }
  return all;
}

/** Names of keys whose Security Key is neither what was released nor retired; none if all is well. */
export async function lost({ released }: World, state: KeyServerState): Promise<string[]> {
  const grant = await grantIn(state);
  const wrong: string[] = [];
  for (const [name, digest] of released) {
    const [keyId = '', svn] = name.split(' ');
    const ask = { keyId: fromHex(keyId), svn: Number(svn), reason: 'boot' } as const;
    try {
      const key = await state.keys.acquire(grant, requestId(), ask);
      if (digestOf(key.securityKey) !== digest) wrong.push(name);
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
      if (error.code !== 'KEY_RETIRED') wrong.push(`${name}: ${error.code}`);
    }
  }
  return wrong;
}

/** One thing that a Key Server is asked; answers are compared as JSON. */
export interface Operation {
  readonly name: string;
  readonly run: (
    state: KeyServerState,
    world: World,
    /** 16 bytes, the same when it is asked again. */
    id: Uint8Array,
    /** Called where one part of it is done and may stay so. */
    between?: () => Promise<void>,
  ) => Promise<unknown>;
}

const keyOf = ({ keyId, securityKey, svn, svnFloor }: ReleasedKey) => ({
  keyId: toHex(keyId),
  securityKey: digestOf(securityKey),
  svn,
  svnFloor,
});

/** Everything that writes, each alone or one after the other. */
export const operations: readonly Operation[] = [
  {
    name: 'register a tenant',
    run: async (state, { newTenant }) => {
      const { tenantId, thumbprint } = await state.tenants.register('carol', newTenant, call);
      return { tenantId, thumbprint: toHex(thumbprint) };
    },
  },
  {
    name: 'KeyConfirm',
    run: async (state, { preActive: { keyId, kcv } }, id) =>
      state.keys.confirm(await grantIn(state), id, { keyId, svn: 1, kcv }),
  },
  {
    name: 'KeyAcquire',
    run: async (state, { active }, id) => {
      const ask = { keyId: active, svn: undefined, reason: 'boot' } as const;
      return keyOf(await state.keys.acquire(await grantIn(state), id, ask));
    },
  },
  {
    name: 'KeyAlloc',
    run: async (state, _, id) => keyOf(await state.keys.allocate(await grantIn(state), id, newKey)),
  },
  {
    name: 'KeyUpdate',
    run: async (state, { active }, id) => {
      const raise = { keyId: active, targetSvn: 5, expectedFloor: 2, retireBelow: 2 };
      const result = await state.keys.update(await grantIn(state), id, raise);
      return { from: result.oldFloor, to: result.newFloor, retired: result.svnRetired };
    },
  },
  {
    name: 'KeyAlloc again of a key (re-allocation)',
    run: async (state, { active }, id) => {
      const request = { ...newKey, keyId: active, svn: 6 };
      return keyOf(await state.keys.allocate(await grantIn(state), id, request));
    },
  },
  {
    name: 'set a policy',
    run: async (state, world) => {
      const { policy, digest } = await state.policies.set('acme', world.nextPolicy, call);
      return { version: policy.version, digest: toHex(digest) };
    },
  },
  {
    name: 'rotate a key',
    run: async (state, { other }, id) => {
      const order = { tenantId: 'acme', keyId: other, requestId: id, call };
      const rest = { expectedRevision: undefined, agentsRetireEpochs: false };
      const { epoch } = await state.keyAdmin.rotate({ ...order, ...rest });
      return { epoch };
    },
  },
  {
    name: 'suspend and resume a key',
    run: async (state, { other }, id, between) => {
      const order = { tenantId: 'acme', keyId: other, call, expectedRevision: undefined };
      const suspended = await state.keyAdmin.suspend({ ...order, requestId: id });
      await between?.();
      const next = Uint8Array.from(id, (byte) => byte ^ 128);
      const resumed = await state.keyAdmin.resume({ ...order, requestId: next });
      return [suspended.keyId, resumed.keyId].map(toHex);
    },
  },
  {
    name: 'destroy a key, by order and when due',
    run: async (state, { doomed, clock }, _, between) => {
      await state.keyAdmin.destroy('acme', doomed.order, call);
      await between?.();
      clock.ahead += 2 * destroyDelaySeconds * 1000;
      await state.keyAdmin.runDue();
      return { state: (await state.keys.get('acme', doomed.keyId)).state };
    },
  },
];

/** What `store check` finds wrong with a store that is closed. */
export async function problemsOf(place: Place): Promise<readonly string[]> {
  const options = optionsOf(place);
  const { problems } = await withStoreAtRest(place.folder, options, (store) => checkStore(store));
  return problems.map(({ key, what }) => `${key} ${what}`);
}
