import { generateKeyPairSync } from 'node:crypto';
import { concat, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborKey, type CborValue, Tag } from '#core/cbor/value.js';
import { mintCwt, verifyCwt } from '#core/cose/cwt.js';
import { peekDelegation, signDelegation } from '#core/cose/delegation.js';
import { encrypt0, parseEncrypt0 } from '#core/cose/encrypt0.js';
import { decodeCoseKey, ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { openRotation, signRotation } from '#core/cose/key-rotation.js';
import { parseSign, sign } from '#core/cose/sign.js';
import { parseSign1, sign1 } from '#core/cose/sign1.js';
import { readEndorsementKeyInfo } from '#core/snp/endorsement/extensions.js';
import { isPckCertificate, readPckPlatform } from '#core/tdx/endorsement/pck.js';
import { hasGoogleInstance, readGoogleInstance } from '#core/tpm/ak/google.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { readDerOrPem, toPem } from '#core/x509/pem.js';
import { readPublicKeyInfo } from '#core/x509/public-key.js';
import { crypto } from '#crypto';
import {
  endorsementExtensions,
  issueCertificate as issueAmd,
  rsaSpki,
  simulatedName,
} from '#sim/certificates.js';
import { FakeIntel } from '../fakes/intel.js';
import type { HostileParser } from './parser.js';

const sampleMap = new Map<CborKey, CborValue>([
  [1, 'text'],
  [2, new Uint8Array(20)],
  [-3, [true, null, 2 ** 40, -(2 ** 33), [new Map<CborKey, CborValue>([['é', 1]])]]],
  ['key', new Tag(18, [utf8('x')])],
]);

const key = () => crypto.generateEcKey('P-256');

async function certificates(): Promise<Uint8Array[]> {
  const intel = await FakeIntel.create();
  const issuer = { key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey };
  const amd = issueAmd(
    { ...issuer, name: simulatedName('SEV-Genoa') },
    {
      serial: Uint8Array.of(0),
      subject: simulatedName('SEV-VCEK'),
      spki: rsaSpki(issuer.key),
      notBefore: 0,
      notAfter: Date.UTC(2040, 0, 1),
      extensions: endorsementExtensions({
        product: 'Genoa',
        tcb: { fmc: 0, bootloader: 10, tee: 0, snp: 24, microcode: 0x84 },
        hwId: new Uint8Array(64).fill(3),
      }),
    },
  );
  return [amd, ...(await intel.chain())];
}

/** What evidence and messages are made of. */
export const encodings: readonly HostileParser[] = [
  {
    name: 'cbor',
    parse: (bytes) => decode(bytes, { tags: [18] }),
    seeds: () => [encode(sampleMap), encode(1), encode(''), encode([])],
  },
  {
    name: 'cbor-lenient',
    parse: (bytes) => decode(bytes, { tags: [18], canonical: false }),
    seeds: () => [
      encode(sampleMap),
      concat(Uint8Array.of(0x9f, 0xbf, 0x18, 0x01, 0x02, 0xff), encode([1]), Uint8Array.of(0xff)),
    ],
  },
  {
    name: 'cose-key',
    parse: (bytes) => decodeCoseKey(bytes, 'key'),
    seeds: async () => [
      encodeCoseKey({ curve: 'P-256', point: (await key()).publicPoint }),
      encodeCoseKey({ curve: 'P-384', point: (await crypto.generateEcKey('P-384')).publicPoint }),
    ],
  },
  {
    name: 'cose-sign1',
    parse: (bytes) => parseSign1(bytes),
    seeds: async () => [
      await sign1(await key(), utf8('payload'), { unprotected: new Map([[4, utf8('kid')]]) }),
    ],
  },
  {
    name: 'cose-sign',
    parse: (bytes) => parseSign(bytes),
    seeds: async () => [await sign([await key(), await key()], utf8('payload'))],
  },
  {
    name: 'delegation',
    parse: (bytes) => peekDelegation(bytes),
    seeds: async () => [
      await signDelegation(await key(), {
        iss: 'acme',
        sub: 'ci',
        aud: ['key-server'],
        iat: 0,
        exp: 60,
        id: new Uint8Array(16),
        scope: ['auditor'],
        key: ecPublicKey('P-256', (await key()).publicPoint),
      }),
    ],
  },
  {
    name: 'key-rotation',
    parse: async (bytes) =>
      openRotation(bytes, 'acme', ecPublicKey('P-256', (await key()).publicPoint)),
    seeds: async () => [
      await signRotation('acme', await key(), await crypto.generateEcKey('P-256'), 1),
    ],
  },
  {
    name: 'cose-encrypt0',
    parse: (bytes) => parseEncrypt0(bytes),
    seeds: () => [encrypt0(new Uint8Array(32), new Uint8Array(12), utf8('plain'), {})],
  },
  {
    name: 'cwt',
    parse: (bytes) =>
      verifyCwt(bytes, () => undefined, { nowSeconds: 0, audience: 'a', lifetimeSecondsMax: 60 }),
    seeds: async () => [
      await mintCwt(await key(), {
        iss: 'acme',
        sub: 'acme',
        aud: 'key-server',
        exp: 60,
        iat: 0,
        cti: new Uint8Array(16),
        scope: ['tenant'],
      }),
    ],
  },
  {
    name: 'certificate',
    parse: (bytes) => {
      const certificate = parseCertificate(bytes);
      if (hasGoogleInstance(certificate)) readGoogleInstance(certificate);
      return isPckCertificate(certificate)
        ? readPckPlatform(certificate)
        : readEndorsementKeyInfo(certificate);
    },
    seeds: certificates,
  },
  {
    name: 'crl',
    parse: (bytes) => parseCertificateList(bytes),
    seeds: async () => [
      await (await FakeIntel.create()).crl('root', {
        revoked: [Uint8Array.of(1), Uint8Array.of(2, 3)],
      }),
    ],
  },
  {
    name: 'pem',
    parse: (bytes) => readDerOrPem(bytes, 'CERTIFICATE', 'pem'),
    seeds: () =>
      [1, 2, 3].map((length) =>
        utf8(toPem('CERTIFICATE', new Uint8Array(47 + length).fill(0x30)).repeat(2)),
      ),
  },
  {
    name: 'public-key',
    parse: (bytes) => readPublicKeyInfo(bytes, 'key'),
    seeds: () =>
      [
        generateKeyPairSync('rsa', { modulusLength: 2048 }),
        generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      ].map(({ publicKey }) => new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))),
  },
];
