import { join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { crypto } from '#crypto';
import { canary, temporaryFolder } from '../run-folder.js';
import { destructionOrder } from '../server/key-server/lifecycle/orders.js';
import {
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
import {
  copyStore,
  destroyDelaySeconds,
  digestOf,
  grantIn,
  levelCount,
  placeIn,
  type World,
} from './operations.js';

/** Two tenants, some keys in several states, two versions of a policy; closed. */
export async function makeWorld(): Promise<World> {
  const place = await newPlace('world', canary);
  const state = await openPlace(place);
  const released = new Map<string, string>();
  const keep = (key: { keyId: Uint8Array; svn: number; securityKey: Uint8Array }) => {
    canary(key.securityKey);
    released.set(`${toHex(key.keyId)} ${key.svn}`, digestOf(key.securityKey));
  };
  await withTenant(state, 'bolt');
  await withTenant(state, 'acme', { levels: levels(levelCount), destroyDelaySeconds });
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
  const confirmed = async () => {
    const key = await state.keys.allocate(grant, requestId(), newKey);
    const kcv = { keyId: key.keyId, svn: 1, kcv: key.kcv };
    await state.keys.confirm(grant, requestId(), kcv);
    canary(key.securityKey);
    return key.keyId;
  };
  const other = await confirmed();
  const doomed = await confirmed();
  const { revision } = await state.keys.get('acme', doomed);
  const order = await destructionOrder(doomed, revision);
  const preActive = await state.keys.allocate(grant, requestId(), newKey);
  keep(preActive);
  await nextPolicy(state, {
    levels: levels(levelCount),
    destroyDelaySeconds,
    svnFloor: 1,
    cvmNames: ['web-*', 'db-*'],
  });
  const current = await state.policies.get('acme', 'web', 0);
  const next = await signedPolicy(await signingKey(), {
    version: BigInt(current.policy.version) + 1n,
    prevDigest: current.digest,
    levels: levels(levelCount),
    destroyDelaySeconds,
    cvmNames: ['web-*', 'db-*'],
    svnFloor: 2,
  });
  const tenant = await crypto.generateEcKey('P-256');
  await state.close();
  return {
    place,
    released,
    active: active.keyId,
    preActive: { keyId: preActive.keyId, kcv: preActive.kcv },
    other,
    doomed: { keyId: doomed, order },
    nextPolicy: next,
    clock: { ahead: 0 },
    newTenant: encodeCoseKey(ecPublicKey(tenant.curve, tenant.publicPoint)),
  };
}

/** The same world, to do something to. */
export function copyOf(world: World): Place {
  const folder = join(temporaryFolder('copy'), 'store');
  copyStore(world.place.folder, folder);
  return placeIn(world, folder);
}
