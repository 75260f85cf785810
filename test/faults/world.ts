import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex, toHex } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type {
  KeyServerState,
  ReleasedKey,
  SessionGrant,
} from '#server/key-server/release/contract.js';
import { canary, temporaryFolder } from '../run-folder.js';
import {
  call,
  grantOf,
  levels,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  requestId,
  signedPolicy,
  signingKey,
  withTenant,
} from '../server/key-server/state.js';

const levelCount = 6;

/** A Key Server that has seen something, and what was acknowledged of it. */
export interface World {
  readonly place: Place;
  /** Security Keys as they were released, by KeyID and SVN: "hex svn". */
  readonly released: ReadonlyMap<string, string>;
  readonly active: Uint8Array;
  readonly preActive: { readonly keyId: Uint8Array; readonly kcv: Uint8Array };
  /** Version 2 of the policy, signed: raises the floor to 2. */
  readonly nextPolicy: Uint8Array;
  readonly newTenant: Uint8Array;
}

/** Two tenants, some keys in several states, two versions of a policy; closed. */
export async function makeWorld(): Promise<World> {
  const place = await newPlace('world', canary);
  const state = await openPlace(place);
  const released = new Map<string, string>();
  const keep = (key: { keyId: Uint8Array; svn: number; securityKey: Uint8Array }) => {
    canary(key.securityKey);
    released.set(`${toHex(key.keyId)} ${key.svn}`, toHex(key.securityKey));
  };
  await withTenant(state, 'bolt');
  await withTenant(state, 'acme', { levels: levels(levelCount) });
  const grant = await grantIn(state);
  const active = await state.keys.allocate(grant, requestId(), newKey);
  const { keyId } = active;
  keep(active);
  await state.keys.confirm(grant, requestId(), { keyId, svn: 1, kcv: active.kcv });
  const raise = { keyId, targetSvn: 2, expectedFloor: 1, retireBelow: undefined };
  await state.keys.update(grant, requestId(), raise);
  for (const svn of [1, 2]) {
    const ask = { keyId, svn, reason: 'boot' } as const;
    keep(await state.keys.acquire(grant, requestId(), ask));
  }
  const preActive = await state.keys.allocate(grant, requestId(), newKey);
  keep(preActive);
  await nextPolicy(state, { levels: levels(levelCount), svnFloor: 1, cvmNames: ['web-*', 'db-*'] });
  const current = await state.policies.get('acme', 'web', 0);
  const next = await signedPolicy(await signingKey(), {
    version: BigInt(current.policy.version) + 1n,
    prevDigest: current.digest,
    levels: levels(levelCount),
    cvmNames: ['web-*', 'db-*'],
    svnFloor: 2,
  });
  const tenant = await crypto.generateEcKey('P-256');
  await state.close();
  return {
    place,
    released,
    active: active.keyId,
    preActive,
    nextPolicy: next,
    newTenant: encodeCoseKey(ecPublicKey(tenant.curve, tenant.publicPoint)),
  };
}

/** A session of acme that proves the highest level. */
export async function grantIn(state: KeyServerState): Promise<SessionGrant> {
  return grantOf(await state.policies.get('acme', 'web', 0), levelCount);
}

/** Everything that a store is on disk: its folder, and what is beside it. */
const parts = ['', '.head', '.vault'];

/** The same world, to do something to. */
export function copyOf({ place }: World): Place {
  const folder = join(temporaryFolder('copy'), 'store');
  for (const part of parts.filter((each) => existsSync(place.folder + each))) {
    cpSync(place.folder + part, folder + part, { recursive: true });
  }
  return { ...place, folder };
}

/** What a tenant can see, without the log; two stores are the same where this is. */
export async function seen(state: KeyServerState): Promise<unknown> {
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
      keys: keys.map((key) => ({ ...key, keyId: toHex(key.keyId), released: 0 })),
    });
  }
  return all;
}

/** Names of keys whose Security Key is neither what was released nor retired; none if all is well. */
export async function lost({ released }: World, state: KeyServerState): Promise<string[]> {
  const grant = await grantIn(state);
  const wrong: string[] = [];
  for (const [name, securityKey] of released) {
    const [keyId = '', svn] = name.split(' ');
    const ask = { keyId: fromHex(keyId), svn: Number(svn), reason: 'boot' } as const;
    try {
      const key = await state.keys.acquire(grant, requestId(), ask);
      if (toHex(key.securityKey) !== securityKey) wrong.push(name);
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
  ) => Promise<unknown>;
}

const keyOf = ({ keyId, securityKey, svn, svnFloor }: ReleasedKey) => ({
  keyId: toHex(keyId),
  securityKey: toHex(securityKey),
  svn,
  svnFloor,
});

/** Everything that writes. */
export const operations: readonly Operation[] = [
  {
    name: 'register a tenant',
    run: async (state, { newTenant }) => {
      const { tenantId, thumbprint } = await state.tenants.register('carol', newTenant, call);
      return { tenantId, thumbprint: toHex(thumbprint) };
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
    name: 'KeyAlloc',
    run: async (state, _, id) => keyOf(await state.keys.allocate(await grantIn(state), id, newKey)),
  },
  {
    name: 'KeyAlloc again of a key (re-allocation)',
    run: async (state, { active }, id) => {
      const request = { ...newKey, keyId: active, svn: 4 };
      return keyOf(await state.keys.allocate(await grantIn(state), id, request));
    },
  },
  {
    name: 'KeyAcquire',
    run: async (state, { active }, id) => {
      const ask = { keyId: active, svn: undefined, reason: 'boot' } as const;
      return keyOf(await state.keys.acquire(await grantIn(state), id, ask));
    },
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
    name: 'KeyConfirm',
    run: async (state, { preActive: { keyId, kcv } }, id) =>
      state.keys.confirm(await grantIn(state), id, { keyId, svn: 1, kcv }),
  },
];
