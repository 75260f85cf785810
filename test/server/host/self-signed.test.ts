import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { selfSigned } from '#server/host/self-signed.js';
import { refusalOf } from '../../refusal.js';

const now = Date.UTC(2026, 10, 22);

describe('self-signed TLS certificate (RFC 5280 s.4)', () => {
  test('an independent reader finds its names, its validity and its own signature', async () => {
    const names = ['localhost', 'key.example', '127.0.0.1', '::1', '2001:db8::7:0:1'];
    const identity = await selfSigned(names, now);
    const certificate = new X509Certificate(identity.certificate);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkHost('key.example')).toBe('key.example');
    for (const ip of names.slice(2)) expect(certificate.checkIP(ip)).toBe(ip);
    expect(certificate.checkHost('other.example')).toBeUndefined();
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validFrom)).toBeLessThan(now);
    expect(Date.parse(certificate.validTo)).toBeGreaterThan(now);
  });

  test('two certificates share neither key nor serial number', async () => {
    const [a, b] = await Promise.all([selfSigned(['a'], now), selfSigned(['a'], now)]);
    expect(a.key).not.toBe(b.key);
    expect(new X509Certificate(a.certificate).serialNumber).not.toBe(
      new X509Certificate(b.certificate).serialNumber,
    );
  });

  test('no name, or what is no name, is refused', async () => {
    expect(await refusalOf(selfSigned([], now))).toBe('USAGE');
    expect(await refusalOf(selfSigned(['a b'], now))).toBe('USAGE');
    expect(await refusalOf(selfSigned(['-a'], now))).toBe('USAGE');
  });
});
