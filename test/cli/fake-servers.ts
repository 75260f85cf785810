import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectRouter, createRouterTransport } from '@connectrpc/connect';
import { type Connect, type ServerApis, serverApis } from '#cli/api.js';
import { createKeyFile } from '#cli/profile/key-file.js';
import { type Profile, parseProfile, profileText } from '#cli/profile/profile.js';
import { fromBase64Url } from '#core/bytes.js';
import { type CwtClaims, verifyCwt } from '#core/cose/cwt.js';
import { type EcPublicKey, ecPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { temporaryFolder } from '../run-folder.js';

export interface FakeTenant {
  readonly profile: Profile;
  readonly folder: string;
  /** Private halves, to sign as tenant and as Key Server. */
  readonly tenantKey: EcPrivateKey;
  readonly identityKey: EcPrivateKey;
  readonly publicKey: EcPublicKey;
}

/** A tenant and operator with key files and a profile of two servers that nobody runs. */
export async function fakeTenant(): Promise<FakeTenant> {
  const folder = temporaryFolder('tenant');
  const tenantKey = await createKeyFile(join(folder, 'tenant-key.pem'), 'P-256');
  await createKeyFile(join(folder, 'id-block-key.pem'), 'P-384');
  await createKeyFile(join(folder, 'operator-key.pem'), 'P-256');
  const identityKey = await crypto.generateEcKey('P-256');
  const text = profileText({
    tenant: 'acme',
    tenantKey: 'tenant-key.pem',
    idBlockKey: 'id-block-key.pem',
    operatorKey: 'operator-key.pem',
    keyServer: {
      address: '127.0.0.1:7443',
      name: 'ks',
      tlsCa: 'ks.crt',
      identityKey: ecPublicKey('P-256', identityKey.publicPoint),
    },
    platform: { address: '127.0.0.1:7444', name: 'cloud', tlsCa: 'cloud.crt' },
  });
  const file = join(folder, 'cvmp.yaml');
  writeFileSync(file, text);
  return {
    profile: parseProfile(text, file),
    folder,
    tenantKey,
    identityKey,
    publicKey: ecPublicKey('P-256', tenantKey.publicPoint),
  };
}

/** Both servers in memory: what they answer is the test's, what they see is kept. */
export interface FakeServers {
  readonly apis: ServerApis;
  /** Each call with its bearer token and the server that it went to. */
  readonly calls: { readonly server: string; readonly method: string; readonly token: string }[];
}

export function fakeServers(
  profile: Profile,
  routes: (router: ConnectRouter) => void,
  now = 1_800_000_000_000,
): FakeServers {
  const calls: FakeServers['calls'] = [];
  const connect: Connect = (server, authorize) => {
    const transport = createRouterTransport(routes, {
      router: {
        interceptors: [
          (next) => (request) => {
            const token = (request.header.get('authorization') ?? '').replace(/^Bearer /, '');
            calls.push({ server: server.name, method: request.method.name, token });
            return next(request);
          },
        ],
      },
      transport: { interceptors: [authorize] },
    });
    return { transport, close: () => undefined };
  };
  return { apis: serverApis(profile, connect, () => now), calls };
}

/** Claims of a token, verified under the key that should have signed it. */
export function tokenClaims(
  token: string,
  key: EcPublicKey,
  audience: string,
  now = 1_800_000_000_000,
): Promise<CwtClaims> {
  const rules = { nowSeconds: now / 1000, audience, lifetimeSecondsMax: 3600 };
  return verifyCwt(fromBase64Url(token), () => key, rules);
}
