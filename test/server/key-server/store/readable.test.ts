import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { toHex, utf8 } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { canary } from '../../../run-folder.js';
import {
  grantOf,
  newKey,
  newPlace,
  openPlace,
  requestId,
  signingKey,
  withTenant,
} from '../state.js';

function bytesOf(folder: string): Buffer {
  return Buffer.concat(readdirSync(folder).map((name) => readFileSync(join(folder, name))));
}

it('without the master key the files tell names of records and nothing else (limitations.md)', async () => {
  const place = await newPlace('readable', canary);
  const state = await openPlace(place);
  const policy = await withTenant(state, 'acme-tenant', { cvmNames: ['secret-cvm-*'] });
  const grant = grantOf(policy, 2, { cvmName: 'secret-cvm-1' });
  const key = await state.keys.allocate(grant, requestId(), newKey);
  canary(key.securityKey);
  await state.close();
  const { curve, publicPoint } = await signingKey();
  const store = bytesOf(place.folder);
  const vault = bytesOf(`${place.folder}.vault`);
  const contents = [
    utf8('secret-cvm'),
    utf8('key_alloc'),
    policy.signed,
    policy.digest,
    encodeCoseKey(ecPublicKey(curve, publicPoint)),
    publicPoint,
  ];
  for (const content of contents) {
    expect(store.includes(Buffer.from(content))).toBe(false);
    expect(vault.includes(Buffer.from(content))).toBe(false);
  }
  // What is told, is told here too: if this changes, so must docs/limitations.md.
  expect(store.includes('acme-tenant')).toBe(true);
  for (const name of ['acme-tenant', 'web', toHex(key.keyId)]) {
    expect(vault.includes(name)).toBe(false);
  }
});
