import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Level } from 'level';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { decodeContent, encodeContent } from '#server/key-server/store/vault/content.js';
import { refusalOf } from '../../../refusal.js';
import { canary, temporaryFolder } from '../../../run-folder.js';
import {
  grantOf,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  requestId,
  withTenant,
} from '../state.js';

let original: Place;
/** Security Keys by KeyID, and the floors, as they were. */
const keys = new Map<string, string>();
const keyIds: Uint8Array[] = [];

/** A store with two tenants and some keys, all of it in table files, where no checksum is read. */
beforeAll(async () => {
  original = await newPlace('damage', canary);
  const state = await openPlace(original);
  for (const tenantId of ['acme', 'bolt']) {
    const grant = grantOf(await withTenant(state, tenantId), 2);
    for (let i = 0; i < 8; i++) {
      const key = await state.keys.allocate(grant, requestId(), newKey);
      canary(key.securityKey);
      keys.set(`${tenantId} ${toHex(key.keyId)}`, toHex(key.securityKey));
      if (tenantId === 'acme') keyIds.push(key.keyId);
    }
  }
  await nextPolicy(state, { svnFloor: 2 });
  await state.close();
  await edit(original, (db) => (db as unknown as Compacting).compactRange('\0', '\x7f'));
});

/** Of LevelDB itself; the types of `level` name only what browsers have too. */
interface Compacting {
  compactRange(from: string, to: string): Promise<void>;
}

async function edit(
  place: Place,
  body: (db: Level<string, Uint8Array>) => Promise<unknown>,
): Promise<void> {
  const options = { compression: false, valueEncoding: 'view' } as const;
  const db = new Level<string, Uint8Array>(place.folder, options);
  await db.open();
  await body(db);
  await db.close();
}

/** A copy of the store with something changed in it. */
async function damaged(body: (db: Level<string, Uint8Array>) => Promise<unknown>): Promise<Place> {
  const place = copyOfOriginal();
  await edit(place, body);
  return place;
}

function copyOfOriginal(): Place {
  const place = { ...original, folder: join(temporaryFolder('damaged'), 'store') };
  for (const end of ['', '.head', '.vault']) {
    cpSync(original.folder + end, place.folder + end, { recursive: true });
  }
  return place;
}

async function using(place: Place, body: (state: KeyServerState) => Promise<void>): Promise<void> {
  const state = await openPlace(place);
  try {
    await body(state);
  } finally {
    await state.close();
  }
}

const acquire = async (state: KeyServerState, tenantId: string, keyId: Uint8Array) => {
  const policy = await state.policies.get(tenantId, 'web', 0);
  const ask = { keyId, svn: 1, reason: 'boot' } as const;
  return state.keys.acquire(grantOf(policy, 4), requestId(), ask);
};

const named = (keyId: Uint8Array, tenantId = 'acme') => `key/${tenantId}/${toHex(keyId)}`;

async function copy(db: Level<string, Uint8Array>, from: string, to: string): Promise<void> {
  await db.put(to, (await db.get(from))!);
}

describe('a store that was changed from outside is refused, not believed (architecture.md s.5)', () => {
  afterAll(() => keys.clear());

  it.each<[string, (db: Level<string, Uint8Array>) => Promise<unknown>]>([
    ['another key’s', (db) => copy(db, named(keyIds[1]!), named(keyIds[0]!))],
    [
      'its own, with a later version',
      async (db) => {
        const bytes = Buffer.from((await db.get(named(keyIds[0]!)))!);
        bytes.writeUIntBE(bytes.readUIntBE(0, 6) + 1, 0, 6);
        await db.put(named(keyIds[0]!), bytes);
      },
    ],
    ['cut off', (db) => db.put(named(keyIds[0]!), new Uint8Array(9))],
    ['not even a version', (db) => db.put(named(keyIds[0]!), new Uint8Array(3))],
  ])('a key record that is %s', async (_, body) => {
    await using(await damaged(body), async (state) => {
      expect(await refusalOf(acquire(state, 'acme', keyIds[0]!))).toBe('STORE_CORRUPT');
      expect(await refusalOf(state.keys.get('acme', keyIds[0]!))).toBe('STORE_CORRUPT');
      expect(await refusalOf(acquire(state, 'acme', keyIds[2]!))).toBe('accepted');
    });
  });

  it('a key record given to another tenant', async () => {
    const place = await damaged((db) => copy(db, named(keyIds[0]!), named(keyIds[0]!, 'bolt')));
    await using(place, async (state) => {
      expect(await refusalOf(acquire(state, 'bolt', keyIds[0]!))).toBe('STORE_CORRUPT');
    });
  });

  it('the policies of a tenant set back to an older version', async () => {
    const version = (n: number) => `policy/acme/web/${n.toString(16).padStart(14, '0')}`;
    const place = await damaged((db) => copy(db, version(1), version(2)));
    await using(place, async (state) => {
      expect(await refusalOf(state.policies.get('acme', 'web', 0))).toBe('STORE_CORRUPT');
      expect(await refusalOf(state.policies.get('bolt', 'web', 0))).toBe('accepted');
    });
  });

  it('one tenant’s KEK put in place of another’s', async () => {
    const place = copyOfOriginal();
    const path = join(`${place.folder}.vault`, 'keks');
    const { id, ...content } = decodeContent(readFileSync(path), path);
    const [acme, bolt] = content.keks.filter(({ name }) => name !== 'server');
    const swapped = content.keks.map((kek) => {
      if (kek === acme) return { ...kek, wrapped: bolt!.wrapped };
      return kek === bolt ? { ...kek, wrapped: acme!.wrapped } : kek;
    });
    writeFileSync(path, encodeContent(id, { ...content, keks: swapped }));
    await using(place, async (state) => {
      for (const tenantId of ['acme', 'bolt']) {
        expect(await refusalOf(state.policies.get(tenantId, 'web', 0))).toBe('STORE_CORRUPT');
      }
    });
  });

  it('audit records taken away from the middle of the log', async () => {
    const place = await damaged(async (db) => {
      const names = await db.keys({ gte: 'audit/', lt: 'audit/\x7f' }).all();
      await db.del(names[Math.floor(names.length / 2)]!);
    });
    expect(await refusalOf(openPlace(place))).toBe('STORE_CORRUPT');
  });

  it('the store of another Key Server under this master key', async () => {
    const other = await newPlace('other');
    const place = await damaged(async (db) => {
      await edit({ ...other, masterKey: original.masterKey }, async (theirs) => {
        await db.put('store', (await theirs.get('store'))!);
      });
    });
    expect(await refusalOf(openPlace(place))).not.toBe('accepted');
  });

  it('flipped bits of a table, its index and its filter are found before anything is read', async () => {
    const table = readdirSync(original.folder).filter((name) => name.endsWith('.ldb'));
    expect(table.length).toBeGreaterThan(0);
    const content = readFileSync(join(original.folder, table[0]!));
    const codes = new Set<string>();
    for (let i = 0; i < 24; i++) {
      const place = copyOfOriginal();
      const flipped = Buffer.from(content);
      flipped[Math.floor((content.length * (i + 0.5)) / 24)]! ^= 0x10;
      writeFileSync(join(place.folder, table[0]!), flipped);
      for (const code of await outcomes(place)) codes.add(code);
    }
    expect([...codes]).toEqual(['STORE_CORRUPT']);
  });
});

/** What becomes of every key of a store. */
async function outcomes(place: Place): Promise<readonly string[]> {
  let state: KeyServerState;
  try {
    state = await openPlace(place);
  } catch (error) {
    return [(error as CvmpError).code];
  }
  const found: string[] = [];
  for (const [name, expected] of keys) {
    const [tenantId = '', hex = ''] = name.split(' ');
    try {
      const key = await acquire(state, tenantId, Buffer.from(hex, 'hex'));
      found.push(toHex(key.securityKey) === expected ? 'right' : 'wrong');
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
      found.push(error.code);
    }
  }
  await state.close();
  return found;
}

describe('what is in the files (a canary for the whole run)', () => {
  it('neither Security Keys nor root keys nor KEKs, in any form', () => {
    for (const name of readdirSync(original.folder)) {
      const content = readFileSync(join(original.folder, name));
      for (const securityKey of keys.values()) {
        expect(content.includes(Buffer.from(securityKey, 'hex'))).toBe(false);
        expect(content.includes(securityKey)).toBe(false);
      }
    }
  });
});
