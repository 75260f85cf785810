import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as der from '#core/asn1/write.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import type { TpmClaims } from '#core/tpm/claims.js';
import { parseTpmCollection } from '#core/tpm/evidence.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import { crypto } from '#crypto';
import {
  caExtensions,
  commonName,
  extension,
  issueCertificate,
  leafExtensions,
  spkiOf,
} from '../../fakes/certificates.js';
import { eventLog, soundBoot } from '../../fakes/event-log.js';
import { Swtpm, swtpmMissing } from '../../fakes/swtpm.js';
import { refusalOf } from '../../refusal.js';
import { openOn, reportData, verify } from './tpm-cvm.js';

// Google's vTPM: for each AK one NV index has its certificate, the next one the template that makes
// it anew. Here a CA of the test's own stands in for Google's.

const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign';
const kinds = {
  rsa: { certificate: 0x01c10000, template: 0x01c10001, algorithm: 'rsa2048:rsassa-sha256:null' },
  ecc: { certificate: 0x01c10002, template: 0x01c10003, algorithm: 'ecc256:ecdsa-sha256:null' },
} as const;

const ca = await crypto.generateEcKey('P-256');
const caName = commonName('AK CA');
const anchor = {
  format: 'tpm',
  name: 'cloud',
  spkiDigest: crypto.hash('sha256', spkiOf(ca)),
};
const instance = extension(
  '1.3.6.1.4.1.11129.2.1.21',
  der.sequence(
    der.utf8String('us-central1-a'),
    der.integer(1),
    der.utf8String('project'),
    der.integer(2),
    der.utf8String('instance-1'),
  ),
);
let root: Uint8Array;
beforeAll(async () => {
  root = await issueCertificate(ca, {
    issuer: caName,
    subject: caName,
    spki: spkiOf(ca),
    extensions: caExtensions(),
  });
});

/** A template: the public area with nothing where the key itself will be. */
function templateOf(publicArea: Uint8Array, kind: keyof typeof kinds): Uint8Array {
  const unique = kind === 'rsa' ? 2 + 256 : 2 * (2 + 32);
  const size = kind === 'rsa' ? 2 : 4;
  const template = publicArea.slice(0, publicArea.length - unique + size);
  template.fill(0, template.length - size);
  return template;
}

/** What Google does when it makes the instance. @param certified key of the certificate */
async function provision(tpm: Swtpm, kind: keyof typeof kinds, certified?: Uint8Array) {
  const { certificate, template, algorithm } = kinds[kind];
  const context = tpm.file('google.ctx');
  tpm.run('createprimary', '-Q', '-C', 'e', '-G', algorithm, '-a', attributes, '-c', context);
  // The tools' helper flushes what they loaded; the context stays.
  tpm.run('readpublic', '-Q', '-c', context, '-f', 'tpmt', '-o', tpm.file('ak.tpmt'));
  const publicArea = tpm.read('ak.tpmt');
  const content = {
    issuer: caName,
    subject: commonName('instance'),
    spki: certified ?? parsePublicArea(publicArea).spki,
    serial: Uint8Array.of(7),
    extensions: [...leafExtensions(), instance],
  };
  tpm.nvStore(certificate, await issueCertificate(ca, content));
  tpm.nvStore(template, templateOf(publicArea, kind));
}

const withoutSwtpm = swtpmMissing === undefined ? '' : ` (skipped: ${swtpmMissing} is missing)`;

describe.skipIf(swtpmMissing !== undefined)(`a vTPM of Google Cloud${withoutSwtpm}`, () => {
  let tpm: Swtpm;
  beforeAll(async () => {
    tpm = await Swtpm.create();
    tpm.extend(soundBoot());
    tpm.file('log', eventLog(soundBoot()));
  }, 60_000);
  beforeEach(() => {
    for (const { certificate, template } of Object.values(kinds)) {
      tpm.nvRemove(certificate);
      tpm.nvRemove(template);
    }
  });
  afterAll(() => tpm?.powerOff());

  test.each(['rsa', 'ecc'] as const)(
    'its certified %s AK is found by itself, and verified by its certificate',
    async (kind) => {
      await provision(tpm, kind);
      const attester = await openOn(tpm);
      const evidence = await attester.evidence(reportData);
      expect(attester.activateCredential).toBeUndefined();
      expect(parseTpmCollection(decodeCmw(evidence)).certificates).toHaveLength(1);
      const endorsements = { ...noEndorsements, certificates: [root] };
      const { claims } = await verify(tpm, evidence, attester, { endorsements, anchors: [anchor] });
      const { ak } = claims as TpmClaims;
      expect(ak).toMatchObject({ by: 'certificate', instance: { projectId: 'project' } });
      await attester.close();
    },
  );

  test('a certificate of another key is passed over for the next; without one it is a fault', async () => {
    await provision(tpm, 'rsa', spkiOf(ca));
    expect(await refusalOf(openOn(tpm))).toBe('TPM_UNAVAILABLE');
    await provision(tpm, 'ecc');
    const attester = await openOn(tpm);
    const { signature } = parseTpmCollection(decodeCmw(await attester.evidence(reportData)));
    expect(signature.algorithm).toBe('ES256');
    await attester.close();
  });

  test.each<[string, Uint8Array]>([
    ['a storage key', Uint8Array.of(0, 1, 0, 0xb, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x10)],
    ['nothing', new Uint8Array(1)],
    [
      'a key of another kind',
      Uint8Array.of(0, 8, 0, 0xb, 0, 5, 0, 0x72, 0, 0, 0, 0x10, 0, 0x14, 0, 0xb),
    ],
  ])('a template of %s is a fault of this TPM', async (_, template) => {
    await provision(tpm, 'rsa', spkiOf(ca));
    tpm.nvStore(kinds.rsa.template, template);
    expect(await refusalOf(openOn(tpm))).toBe('TPM_UNAVAILABLE');
  });

  test('pinned in the configuration, a TPM without its indices is refused', async () => {
    expect(await refusalOf(openOn(tpm, { platform: 'google' }))).toBe('TPM_UNAVAILABLE');
  });
});
