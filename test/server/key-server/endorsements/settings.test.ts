import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { readConfig } from '#server/host/config/reader.js';
import { readEndorsementSettings } from '#server/key-server/endorsements/settings.js';

const read = (text: string) => readConfig(text, '/etc/cvmp/x.yaml', readEndorsementSettings);

function refusal(text: string): string {
  try {
    read(text);
    return 'accepted';
  } catch (error) {
    if (error instanceof CvmpError) return `${error.code} ${error.field}`;
    throw error;
  }
}

describe('endorsements in the configuration', () => {
  test('by default nobody is asked, and the folder is beside the file', () => {
    const { value } = read('');
    expect(value).toMatchObject({
      mode: 'offline',
      folder: '/etc/cvmp/endorsements',
      revocation: 'when_held',
    });
    expect(value.fetch.caFile).toBeUndefined();
  });

  test('who fetches demands revocation lists, unless told otherwise', () => {
    expect(read('mode: fetch').value.revocation).toBe('required');
    expect(read('{mode: fetch, revocation: when_held}').value.revocation).toBe('when_held');
  });

  test('every number has a reason, and what is printed reads as the same', () => {
    const { value, printed } = read('fetch: {ca_file: ca.pem}');
    expect(value.fetch.caFile).toBe('/etc/cvmp/ca.pem');
    expect(read(printed).value).toEqual(value);
    expect(read(read('').printed).value).toEqual(read('').value);
    for (const line of read('').printed.split('\n')) {
      if (/^\s*\w+: [^#]+$/.test(line)) throw new Error(`no reason: ${line}`);
    }
  });

  test.each([
    ['http over the network', 'fetch: {kds_url: "http://kds.example"}', 'fetch.kds_url'],
    ['a user', 'fetch: {pcs_url: "https://me@pcs.example"}', 'fetch.pcs_url'],
    ['a query', 'fetch: {root_crl_url: "https://x.example/?y"}', 'fetch.root_crl_url'],
    ['a file', 'fetch: {kds_url: "file:///etc/passwd"}', 'fetch.kds_url'],
    ['no URL', 'fetch: {kds_url: kds}', 'fetch.kds_url'],
    ['a socks proxy', 'fetch: {proxy_url: "socks://x.example"}', 'fetch.proxy_url'],
    ['another mode', 'mode: online', 'mode'],
    ['endless age', 'age_days_max: 0', 'age_days_max'],
    ['an unknown entry', 'fetch: {kds_uri: "https://x.example"}', 'fetch.kds_uri'],
  ])('%s is refused', (_what, text, field) => {
    expect(refusal(text)).toBe(`CONFIG ${field}`);
  });

  test.each([
    'fetch: {kds_url: "http://127.0.0.1:8085"}',
    'fetch: {kds_url: "https://mirror.example/amd/"}',
    'fetch: {proxy_url: "http://proxy.example:3128"}',
  ])('%s', (text) => {
    expect(refusal(text)).toBe('accepted');
  });
});
