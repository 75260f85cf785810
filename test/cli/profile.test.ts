import { describe, expect, test } from 'vitest';
import { parseProfile, profileText, readProfile } from '#cli/profile.js';
import { CvmpError } from '#core/errors.js';
import { refusalOf } from '../refusal.js';

const whole = {
  tenant: 'acme',
  tenantKey: 'tenant-key.pem',
  idBlockKey: 'id-block-key.pem',
  operatorKey: '/etc/cvmp/operator.pem',
  tlsCa: '../ca.pem',
  trustAnchors: ['sim-root.pem'],
  keyServer: {
    address: '[::1]:7443',
    name: 'key-server',
    identityKey: new Uint8Array([0xa1, 1, 2]),
  },
  platform: { address: 'cloud.example:7444', name: 'cvm-platform' },
};

describe('profile', () => {
  test('what is written is read back, with paths relative to the file', () => {
    expect(parseProfile(profileText(whole), '/home/a/cvmp.yaml')).toEqual({
      file: '/home/a/cvmp.yaml',
      tenant: 'acme',
      tenantKey: '/home/a/tenant-key.pem',
      idBlockKey: '/home/a/id-block-key.pem',
      operatorKey: '/etc/cvmp/operator.pem',
      tlsCa: '/home/ca.pem',
      trustAnchors: ['/home/a/sim-root.pem'],
      keyServer: { ...whole.keyServer, guestAddress: undefined },
      platform: whole.platform,
    });
  });

  test('only tenant, its key and the CA must be there', () => {
    const text = 'tenant: a\ntenant_key: k\ntls_ca: c\n';
    const profile = parseProfile(text, '/p.yaml');
    expect(profile.keyServer).toBeUndefined();
    expect(profile.trustAnchors).toEqual([]);
  });

  const text = profileText(whole);
  const rows: readonly (readonly [rule: string, text: string, message: string])[] = [
    ['an unknown entry', `${text}servers: []\n`, 'servers: there is no such entry'],
    ['an unknown entry of a server', text.replace('  name: key', '  nam: key'), 'name is missing'],
    ['a second unknown one', `${text}  port: 1\n`, 'platform.port: there is no such entry'],
    ['no tenant', text.replace('tenant: acme', ''), 'tenant is missing'],
    ['a tenant name with capitals', text.replace('acme', 'Acme'), 'tenant: must be a name'],
    [
      'an address without port',
      text.replace('example:7444', 'example'),
      'platform.address: must be host:port',
    ],
    [
      'an identity key that is not hex',
      text.replace('a10102', 'a1010'),
      'key_server.identity_key: must be a COSE_Key in hex',
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
