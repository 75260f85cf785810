import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readKeyFile } from '#cli/profile/key-file.js';
import { parsePublicKey, publicKeyText, readProfile } from '#cli/profile/profile.js';
import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';
import { fakeTenant, tokenClaims } from './fake-servers.js';

async function init(folder: string, ...more: string[]) {
  const { identityKey } = await fakeTenant();
  const identity = join(folder, 'identity.pub');
  writeFileSync(
    identity,
    `${publicKeyText({ curve: identityKey.curve, point: identityKey.publicPoint })}\n`,
  );
  const profilePath = join(folder, 'new', 'cvmp.yaml');
  const argv = ['tenant', 'init', 'acme', ...more, '--json'];
  const done = await commandLine(
    argv.map((word) => (word === 'IDENTITY' ? identity : word)),
    { profilePath },
  );
  return { ...done, profilePath, identity };
}

describe('tenant init', () => {
  test('writes profile, secret keys of mode 0600 and a public key for the operators', async () => {
    const folder = temporaryFolder('init');
    const servers =
      '--key-server ks:7443 --key-server-ca /ks.crt --identity IDENTITY --platform p:7444 --platform-ca /p.crt'.split(
        ' ',
      );
    const { code, json, profilePath, identity } = await init(folder, ...servers);
    expect(code).toBe(0);
    const profile = await readProfile(profilePath);
    expect(profile).toMatchObject({
      tenant: 'acme',
      keyServer: { address: 'ks:7443', name: 'key-server', tlsCa: '/ks.crt' },
      platform: { address: 'p:7444', name: 'cvm-platform', tlsCa: '/p.crt' },
    });
    expect(publicKeyText(profile.keyServer!.identityKey)).toBe(
      readFileSync(identity, 'utf8').trim(),
    );
    const key = await readKeyFile(profile.tenantKey!, 'P-256');
    await readKeyFile(profile.idBlockKey!, 'P-384');
    const told = json() as { public_key: string; thumbprint: string };
    const publicKey = parsePublicKey(readFileSync(told.public_key, 'utf8'), 'key');
    expect(publicKey.point).toEqual(key.publicPoint);
    expect(told.thumbprint).toBe(toHex(thumbprint(publicKey)));
    expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700);

    const minted = await commandLine(['token', '--audience', 'ks', '--lifetime-seconds', '60'], {
      profile,
    });
    const claims = await tokenClaims(minted.terminal.stdout.trim(), publicKey, 'ks');
    expect(claims.exp - claims.iat).toBe(60);
    const operator = await commandLine(['token', '--audience', 'ks', '--operator'], { profile });
    expect(operator.code).toBe(1);
    expect(operator.terminal.stderr).toContain('this profile is not that of an operator');
  });

  test('never overwrites a profile', async () => {
    const folder = temporaryFolder('init');
    const { profilePath } = await init(folder);
    const before = readFileSync(profilePath);
    const again = await init(folder);
    expect(again.code).toBe(1);
    expect(again.json()).toMatchObject({ error: { code: 'ALREADY_EXISTS' } });
    expect(readFileSync(profilePath)).toEqual(before);
  });

  test('writes nothing where it would write nonsense', async () => {
    const folder = temporaryFolder('init');
    const server = ['--key-server', 'ks:7443', '--key-server-ca', '/c', '--identity'];
    for (const [argv, code] of [
      [['--platform', 'nowhere', '--platform-ca', '/c'], 1],
      [['--platform', 'p:1'], 2],
      [['--platform-ca', '/c'], 2],
      [server.slice(0, 4), 2],
      [[...server, '/etc/hostname'], 1],
      [[...server, '/nowhere'], 2],
    ] as const) {
      const { code: got, profilePath } = await init(folder, ...argv);
      expect(got).toBe(code);
      expect(() => statSync(profilePath)).toThrow();
    }
  });

  test('operator init makes an operator, who has no tenant', async () => {
    const profilePath = join(temporaryFolder('init'), 'cvmp.yaml');
    const { code } = await commandLine(['operator', 'init'], { profilePath });
    expect(code).toBe(0);
    const profile = await readProfile(profilePath);
    expect([profile.tenant, profile.tenantKey]).toEqual([undefined, undefined]);
    await readKeyFile(profile.operatorKey!, 'P-256');
  });
});
