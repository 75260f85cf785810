import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { makeSigner } from '../../../fakes/callers.js';
import { canary } from '../../../run-folder.js';
import { KeyServerFolder } from '../process.js';

const shamir = { store: { master_key: { provider: 'shamir', shares: 3, threshold: 2 } } };

describe('cvmp-key-server rekey-master, rewrap, vault copy', () => {
  test('from a file to shares: the server goes on, and restarts sealed under the new key', async () => {
    const folder = await KeyServerFolder.initialised();
    let server = await folder.serve();
    const acme = await makeSigner('acme');
    await server.register(acme);
    folder.configure(shamir);

    const gaveUp = await folder.tell('no\n', 'rekey-master');
    expect([gaveUp.code, gaveUp.stderr]).toEqual([1, expect.stringContaining('stays in force')]);
    const { code, stdout, stderr } = await folder.tell('yes\n', 'rekey-master');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/2 of 2\n$/)]);
    const shares = stdout.split('\n').filter((line) => line.startsWith('cvmp-share-'));
    for (const share of shares) canary(utf8(share));
    expect(shares).toHaveLength(3);
    expect(stdout).toMatch(/\nmaster key: shamir\n$/);
    expect((await folder.run('status')).stdout).toContain('state: serving\nmaster key: shamir\n');

    const rewrapped = await folder.run('rewrap', 'acme');
    expect(rewrapped.stdout).toMatch(/^acme: \d+ records under a new key encryption key\n$/);
    expect((await folder.run('rewrap', 'nobody')).stderr).toContain('there is no tenant nobody');
    const copy = join(folder.path, 'vault-copy');
    expect((await folder.run('vault', 'copy', copy)).stdout).toBe(`copied to ${copy}\n`);
    expect(existsSync(join(copy, 'keks'))).toBe(true);

    await server.end('SIGTERM');
    server = await folder.serve();
    await folder.tell(`${shares[0]}\n`, 'unseal');
    expect((await folder.tell(`${shares[2]}\n`, 'unseal')).stdout).toBe('unsealed\n');
    const { tenants } = await server.client(TenantService, folder.operator).listTenants({});
    expect(tenants.map(({ tenantId }) => tenantId)).toEqual(['acme']);
    await server.end('SIGTERM');
  });
});
