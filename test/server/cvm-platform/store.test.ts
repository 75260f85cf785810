import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodeCoseKey } from '#core/cose/key.js';
import type { Cvm } from '#server/cvm-platform/lifecycle/cvm.js';
import { cvmStates } from '#server/cvm-platform/lifecycle/table.js';
import { levelStore, storeKind } from '#server/cvm-platform/store/store.js';
import { PlatformTenants } from '#server/cvm-platform/store/tenants.js';
import { makeTenant, type Tenant, withKey } from '#server/host/callers/tenant.js';
import { Database } from '#server/host/level.js';
import { makeSigner } from '../../fakes/callers.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';
import { imageOf } from './definitions.js';
import { launchOf } from './lifecycle-harness.js';

const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);

const least: Cvm = {
  cvmId: 'cvm-1',
  tenantId: 'acme',
  name: 'web',
  state: 'defined',
  message: '',
  launch: launchOf(),
  requestId: bytes(16, 1),
  createdMs: 1_000,
  bootCount: 0,
};

const full: Cvm = {
  ...least,
  cvmId: 'cvm-2',
  name: 'db',
  state: 'failed',
  message: 'update: DRIVER: no room',
  launch: {
    plan: launchOf().plan,
    spec: {
      ...launchOf().spec,
      firmwareDigest: bytes(32, 2),
      keyId: bytes(16, 3),
      snp: {
        guestPolicy: 0xffff_ffff_ffff_ffffn,
        id: { block: bytes(96, 4), auth: bytes(4096, 5) },
      },
      secureBoot: true,
      liveMigration: true,
      bios: new Map([
        ['boot', 'disk'],
        ['a', ''],
      ]),
      svn: 7,
    },
  },
  pending: { operation: 'update', force: true, launch: launchOf(imageOf(2)) },
};

async function open() {
  const path = join(temporaryFolder('store'), 'db');
  await Database.create(path, storeKind);
  return { path, database: await Database.open(path, storeKind) };
}

describe('journal of the platform', () => {
  test('every record comes back as it was, after the database was closed', async () => {
    const { path, database } = await open();
    const every = cvmStates.map((state, i) => ({
      ...least,
      cvmId: `cvm-${state}`,
      state,
      name: `${i}`,
    }));
    const request = {
      tenantId: 'acme',
      requestId: bytes(16, 1),
      digest: bytes(32, 9),
      cvmIds: ['cvm-1', 'cvm-2'],
      createdMs: 5,
    };
    const [first, second] = await Promise.all([makeSigner('acme'), makeSigner('acme')]);
    const made = makeTenant('acme', encodeCoseKey(first.publicKey), 3);
    const tenant: Tenant = {
      ...withKey(made, encodeCoseKey(second.publicKey), bytes(9, 2)),
      suspended: 'unpaid',
      delegations: { notBefore: 7, revoked: [{ id: bytes(16, 3), until: 8 }] },
      certificates: [
        {
          spkiDigest: bytes(32, 4),
          authority: bytes(50, 5),
          names: ['DNS:ci.acme.example'],
          scope: ['auditor'],
          label: 'ci',
          notAfter: 10,
        },
      ],
      limits: { cvmsMax: 5, callsPerMinuteMax: 7 },
    };
    await levelStore(database).commit({
      cvms: [least, full, ...every],
      requests: [request],
      tenants: [tenant],
    });
    await database.close();
    const again = await Database.open(path, storeKind);
    const found = await levelStore(again).load();
    const byId = (a: Cvm, b: Cvm) => (a.cvmId < b.cvmId ? -1 : 1);
    expect(found.cvms).toEqual([least, full, ...every].sort(byId));
    expect(found.requests).toEqual([request]);
    expect(found.tenants).toEqual([tenant]);
    await levelStore(again).commit({ removedCvms: [full], removedRequests: [request] });
    const after = await levelStore(again).load();
    expect(after.cvms.map((cvm) => cvm.cvmId)).not.toContain('cvm-2');
    expect(after.requests).toEqual([]);
    await again.close();
  });

  test('a record with any flipped bit, or at the place of another, is refused', async () => {
    const { database } = await open();
    const store = levelStore(database);
    await store.commit({ cvms: [full] });
    const stored = (await database.get('cvm!cvm-2'))!;
    for (let at = 0; at < stored.length; at += 97) {
      const damaged = Uint8Array.from(stored);
      damaged[at]! ^= 1 << (at & 7);
      await database.write([{ key: 'cvm!cvm-2', value: damaged }]);
      expect(await refusalOf(store.load())).toBe('STORE_CORRUPT');
    }
    await database.write([{ key: 'cvm!cvm-2' }, { key: 'cvm!cvm-3', value: stored }]);
    expect(await refusalOf(store.load())).toBe('STORE_CORRUPT');
    await database.close();
  });
});

describe('tenants of the platform', () => {
  test('a tenant is known after a restart; the same key again changes nothing, another is refused', async () => {
    const { database } = await open();
    const store = levelStore(database);
    const acme = encodeCoseKey((await makeSigner('acme')).publicKey);
    const other = encodeCoseKey((await makeSigner('acme')).publicKey);
    let nowMs = 1;
    const tenants = new PlatformTenants(store, [], () => nowMs++);
    const [first, second] = await Promise.all([
      tenants.register('acme', acme),
      tenants.register('acme', acme),
    ]);
    expect(second).toBe(first);
    expect(await refusalOf(tenants.register('acme', other))).toBe('ALREADY_EXISTS');
    const next = new PlatformTenants(store, (await store.load()).tenants, () => 9);
    expect(await next.get('acme')).toEqual(first);
    expect(await next.get('globex')).toBeUndefined();
    await database.close();
  });

  test('they are listed in the order of their ids, page by page', async () => {
    const { database } = await open();
    const tenants = new PlatformTenants(levelStore(database), [], () => 0);
    const key = encodeCoseKey((await makeSigner('x')).publicKey);
    for (const id of ['c', 'a', 'd', 'b', 'e']) await tenants.register(id, key);
    const pages: string[] = [];
    let pageToken = '';
    do {
      const page = await tenants.list({ pageSize: 2, pageToken });
      pages.push(page.items.map((tenant) => tenant.tenantId).join(''));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(pages).toEqual(['ab', 'cd', 'e']);
    await database.close();
  });
});
