import { describe, expect, test } from 'vitest';
import { parseProfile, profileText, readProfile } from '#cli/profile/profile.js';
import { ecPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { refusalOf } from '../refusal.js';

const key = await crypto.generateEcKey('P-256');
const identityKey = ecPublicKey('P-256', key.publicPoint);

const whole = {
  tenant: 'acme',
  tenantKey: 'tenant-key.pem',
  idBlockKey: 'id-block-key.pem',
  operatorKey: '/etc/cvmp/operator.pem',
  trustAnchors: ['sim-root.pem'],
  keyServer: {
    address: '[::1]:7443',
    name: 'key-server',
    tlsCa: '../ks.crt',
    identityKey,
  },
  platform: { address: 'cloud.example:7444', name: 'cvm-platform', tlsCa: '/etc/cloud.crt' },
};

describe('profile', () => {
  test('what is written is read back, with paths relative to the file', () => {
    expect(parseProfile(profileText(whole), '/home/a/cvmp.yaml')).toEqual({
      file: '/home/a/cvmp.yaml',
      tenant: 'acme',
      tenantKey: '/home/a/tenant-key.pem',
      idBlockKey: '/home/a/id-block-key.pem',
      operatorKey: '/etc/cvmp/operator.pem',
      trustAnchors: ['/home/a/sim-root.pem'],
      keyServer: { ...whole.keyServer, tlsCa: '/home/ks.crt', guestAddress: undefined },
      platform: whole.platform,
    });
  });

  test('nothing must be there', () => {
    const text = 'trust_anchors: []\n';
    const profile = parseProfile(text, '/p.yaml');
    expect([profile.tenant, profile.keyServer, profile.platform]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(profile.trustAnchors).toEqual([]);
  });

  const text = profileText(whole);
  const rows: readonly (readonly [rule: string, text: string, message: string])[] = [
    ['an unknown entry', `${text}servers: []\n`, 'servers: there is no such entry'],
    ['an unknown entry of a server', text.replace('  name: key', '  nam: key'), 'name is missing'],
    ['a second unknown one', `${text}  port: 1\n`, 'platform.port: there is no such entry'],
    ['a server without CA', text.replace('tls_ca: ../ks.crt', ''), 'tls_ca is missing'],
    ['a tenant name with capitals', text.replace('acme', 'Acme'), 'tenant: must be a name'],
    [
      'an address without port',
      text.replace('example:7444', 'example'),
      'platform.address: must be host:port',
    ],
    [
      'another identity key',
      text.replace(/identity_key: .../, 'identity_key: abc'),
      'identity_key is not a public key',
    ],
    ['a list for a value', text.replace('tenant: acme', 'tenant: [a]'), 'tenant: must be a name'],
    [
      'anchors that are no list',
      text.replace(/trust_anchors:\n {2}- /, 'trust_anchors: '),
      'trust_anchors: must be a list',
    ],
    ['no YAML', '{', '/p.yaml:1'],
    ['a list at the top', '- a', 'must be a map of entries'],
  ];
  test.each(rows)('%s is refused with line and entry', (_, wrong, message) => {
    expect(wrong).not.toBe(text);
    let found: unknown;
    try {
      parseProfile(wrong, '/p.yaml');
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(CvmpError);
    expect((found as CvmpError).code).toBe('CONFIG');
    expect((found as CvmpError).message).toContain(message);
  });

  test('a profile that is not there is wrong usage', async () => {
    expect(await refusalOf(readProfile('/nowhere/cvmp.yaml'))).toBe('USAGE');
  });
});
