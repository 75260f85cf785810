import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { KeyAdminService } from '#gen/cvmp/v1/key_admin_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { callOperator } from '#server/key-server/operator/client.js';
import { makeSigner } from '../../../fakes/callers.js';
import { refusalOf } from '../../../refusal.js';
import { canary } from '../../../run-folder.js';
import { KeyServerFolder, type KeyServerProcess } from '../process.js';

const shamir = { store: { master_key: { provider: 'shamir', shares: 3, threshold: 2 } } };

/** A Key Server whose master key is in three shares. */
async function withShares() {
  const folder = await KeyServerFolder.make(shamir);
  const { code, stdout, stderr } = await folder.tell('', 'init', '--self-signed', 'localhost');
  if (code !== 0) throw new Error(stderr);
  const shares = stdout.split('\n').filter((line) => line.startsWith('cvmp-share-'));
  for (const share of shares) canary(utf8(share));
  return { folder, shares };
}

/** grpc.health.v1 without its package: 1 SERVING, 2 NOT_SERVING. */
function health({ address, folder }: KeyServerProcess): Promise<number | undefined> {
  const port = address.split(':')[1];
  const tls = credentials.createSsl(Buffer.from(folder.certificate));
  const client = new Client(`localhost:${port}`, tls);
  onTestFinished(() => client.close());
  const asIs = (bytes: Buffer) => bytes;
  return new Promise((resolve, reject) => {
    const path = '/grpc.health.v1.Health/Check';
    client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), (error, answer) =>
      error === null ? resolve(answer?.[1]) : reject(error),
    );
  });
}

/** What a call is refused with. */
async function refused(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'accepted',
    (error: Error) => /[A-Z]+(_[A-Z]+)+|SEALED/.exec(error.message)?.[0] ?? error.message,
  );
}

describe('a sealed Key Server (issue 4: starts, NOT_SERVING, answers with the reason)', () => {
  test('serves nobody until enough shares were entered, and again after seal', async () => {
    const { folder, shares } = await withShares();
    const server = await folder.serve();
    const acme = await makeSigner('acme');
    const everything = async () => [
      await refused(server.register(acme)),
      await refused(server.client(TenantService, folder.operator).listTenants({})),
      await refused(server.client(PolicyService, acme).listKeyPolicies({})),
      await refused(server.client(KeyAdminService, acme).listKeys({})),
    ];
    expect(await health(server)).toBe(2);
    expect(await everything()).toEqual(['SEALED', 'SEALED', 'SEALED', 'SEALED']);

    const status = async () => (await folder.run('status')).stdout;
    expect(await status()).toMatch(/^state: sealed\nmaster key: shamir\nentered: 0 of 2\n/);
    expect((await folder.tell(`${shares[2]}\n`, 'unseal')).stdout).toBe('entered: 1 of 2\n');
    const again = await folder.tell(`${shares[2]}\n`, 'unseal');
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('share 3 was entered already');
    expect(await everything()).toContain('SEALED');
    expect((await folder.tell(`${shares[0]}\n`, 'unseal')).stdout).toBe('unsealed\n');
    expect(await health(server)).toBe(1);
    expect(await everything()).toEqual(['accepted', 'accepted', 'accepted', 'accepted']);
    expect((await folder.run('unseal')).stderr).toContain('it is not sealed');

    expect((await folder.run('seal')).stdout).toBe('sealed\n');
    expect(await health(server)).toBe(2);
    expect(await everything()).toEqual(['SEALED', 'SEALED', 'SEALED', 'SEALED']);
    await folder.tell(`${shares[1]}\n`, 'unseal');
    await folder.tell(`${shares[0]}\n`, 'unseal');
    const { tenants } = await server.client(TenantService, folder.operator).listTenants({});
    expect(tenants.map(({ tenantId }) => tenantId)).toEqual(['acme']);
    expect(await server.end('SIGTERM')).toBe(0);
  });

  test('shares are on the standard output of init, and in no file', async () => {
    const { folder, shares } = await withShares();
    expect(shares).toHaveLength(3);
    const files = readdirSync(folder.path, { recursive: true }).map(String);
    for (const name of files.filter((file) => statSync(join(folder.path, file)).isFile())) {
      const content = readFileSync(join(folder.path, name));
      for (const share of shares) {
        const value = share.split('-').at(-2)!;
        expect(content.includes(value) || content.includes(Buffer.from(value, 'hex'))).toBe(false);
      }
    }
  });

  test('wrong passphrases are refused, and after five of them slowed down', async () => {
    const passphrase = 'correct horse battery staple';
    canary(utf8(passphrase));
    const settings = { store: { master_key: { provider: 'passphrase' } } };
    const folder = await KeyServerFolder.make(settings);
    const twice = `${passphrase}\n${passphrase}\n`;
    const made = await folder.tell(twice, 'init', '--self-signed', 'localhost');
    expect(made.stderr).toBe('');
    const server = await folder.serve();
    const wrong = await folder.tell('wrong horse battery staple\n', 'unseal');
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('the master key is not the one of this store');
    const socket = join(folder.path, 'operator.sock');
    const guess = () =>
      callOperator(socket, (client) => client.unseal({ secret: utf8('wrong horse') }));
    const guesses: string[] = [];
    while (guesses.at(-1) !== 'RATE') guesses.push(await refusalOf(guess()));
    // One more for every half minute that this machine takes.
    expect(guesses.length).toBeLessThan(12);
    expect(new Set(guesses)).toEqual(new Set(['MASTER_KEY', 'RATE']));
    // The limit is of the running server; a restart is seen in its log.
    await server.end('SIGTERM');
    const next = await folder.serve();
    expect((await folder.tell(`${passphrase}\n`, 'unseal')).stdout).toBe('unsealed\n');
    await next.end('SIGTERM');
  });

  test('another provider in the configuration than in the store is told apart', async () => {
    const { folder } = await withShares();
    folder.configure({ store: { master_key: { provider: 'passphrase' } } });
    const { code, stderr } = await folder.run('serve');
    expect(code).toBe(1);
    expect(stderr).toContain('the master key of this store is of provider shamir, not passphrase');
  });
});
