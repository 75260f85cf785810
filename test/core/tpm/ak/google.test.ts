import { describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import { hasGoogleInstance, readGoogleInstance } from '#core/tpm/ak/google.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import {
  commonName,
  extension,
  issueCertificate,
  leafExtensions,
  spkiOf,
} from '../../../fakes/certificates.js';
import { refusalOf } from '../../../refusal.js';

const key = await crypto.generateEcKey('P-256');
const name = commonName('AK');
const oid = '1.3.6.1.4.1.11129.2.1.21';

async function certificateWith(...extensions: Uint8Array[]) {
  const all = [...leafExtensions(), ...extensions];
  const content = { issuer: name, subject: name, spki: spkiOf(key), extensions: all };
  return parseCertificate(await issueCertificate(key, content));
}

const identity = [
  der.utf8String('us-central1-a'),
  der.integer(123456789012),
  der.utf8String('project'),
  der.integer(new Uint8Array(8).fill(0x5a)),
  der.utf8String('instance-1'),
];
const security = (version: number, production: boolean) =>
  der.explicit(
    0,
    der.sequence(
      der.explicit(0, der.integer(version)),
      der.explicit(1, der.boolean(production)),
      der.explicit(2, der.boolean(false)),
    ),
  );

describe('instance of Google Cloud in a key certificate (1.3.6.1.4.1.11129.2.1.21)', () => {
  it('every member is read; numbers of 64 bits are exact', async () => {
    const value = der.sequence(...identity, security(2, true));
    const certificate = await certificateWith(extension(oid, value));
    expect(hasGoogleInstance(certificate)).toBe(true);
    expect(readGoogleInstance(certificate)).toEqual({
      zone: 'us-central1-a',
      projectNumber: 123456789012n,
      projectId: 'project',
      instanceId: 0x5a5a5a5a5a5a5a5an,
      instanceName: 'instance-1',
      isProduction: true,
      securityVersion: 2,
    });
  });

  it('a machine that does not say that it is in production is not', async () => {
    const bare = await certificateWith(extension(oid, der.sequence(...identity)));
    expect(readGoogleInstance(bare).isProduction).toBe(false);
    const value = der.sequence(...identity, security(0, false));
    const test = await certificateWith(extension(oid, value));
    expect(readGoogleInstance(test).isProduction).toBe(false);
  });

  const rows: [string, Uint8Array[], string][] = [
    ['no extension', [], 'CERT_EXTENSION_MISSING'],
    ['fewer members', [extension(oid, der.sequence(...identity.slice(0, 4)))], 'MALFORMED'],
    ['more members', [extension(oid, der.sequence(...identity, der.integer(1)))], 'MALFORMED'],
    [
      'members of other types',
      [extension(oid, der.sequence(...identity.slice(1), identity[0]!))],
      'MALFORMED',
    ],
    [
      'a number above 64 bits',
      [
        extension(
          oid,
          der.sequence(
            ...identity.slice(0, 3),
            der.integer(new Uint8Array(9).fill(1)),
            identity[4]!,
          ),
        ),
      ],
      'SIZE',
    ],
  ];
  it.each(rows)('%s is refused', async (_, extensions, code) => {
    const certificate = await certificateWith(...extensions);
    expect(await refusalOf(() => readGoogleInstance(certificate))).toBe(code);
  });
});
