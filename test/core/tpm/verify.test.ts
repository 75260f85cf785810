import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import { concat, fromHex, utf8 } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { type Endorsements, noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import type { AnyScheme } from '#core/rats/scheme.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { activatedAkType, encodeActivatedKey } from '#core/tpm/ak/activation.js';
import { parseTpmCollection, type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { tpmScheme } from '#core/tpm/scheme.js';
import { verifyTpmEvidence } from '#core/tpm/verify.js';
import { crypto } from '#crypto';
import {
  type CertificateContent,
  caExtensions,
  commonName,
  extension,
  issueCertificate,
  issueCrl,
  leafExtensions,
  spkiOf,
} from '../../fakes/certificates.js';
import { digest, eventLog, type FakeEvent, pcrsAfter, soundBoot } from '../../fakes/event-log.js';
import { FakeTpm, type QuoteContent, u16, u32 } from '../../fakes/tpm.js';
import { refusalOf } from '../../refusal.js';

const now = Date.parse('2026-06-01T00:00:00Z');
const boot = soundBoot();
const configDocument = utf8('config document');
const configDigest = crypto.hash('sha256', configDocument);
const reportData = crypto.hash('sha512', utf8('binding'));
const names = {
  root: commonName('EK/AK root'),
  ca: commonName('EK/AK intermediate'),
  ak: commonName('instance'),
};

/** PCRs after the boot and after the agent measured the config document. */
function quotedPcrs(): Map<number, Uint8Array> {
  const pcrs = pcrsAfter(boot);
  pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, configDigest));
  return pcrs;
}

const tpm = new FakeTpm();
const rootKey = await crypto.generateEcKey('P-256');
const caKey = await crypto.generateEcKey('P-256');
const anchor: TrustAnchor = {
  format: 'tpm',
  name: 'cloud',
  spkiDigest: crypto.hash('sha256', spkiOf(rootKey)),
};

let root: Uint8Array;
let ca: Uint8Array;
let ak: Uint8Array;
beforeAll(async () => {
  root = await issueCertificate(rootKey, {
    issuer: names.root,
    subject: names.root,
    spki: spkiOf(rootKey),
    extensions: caExtensions(),
  });
  ca = await issueCertificate(rootKey, {
    issuer: names.root,
    subject: names.ca,
    spki: spkiOf(caKey),
    serial: Uint8Array.of(2),
    extensions: caExtensions(0),
  });
  ak = await akCertificate();
});

const akCertificate = (change: Partial<CertificateContent> = {}, signer = caKey) =>
  issueCertificate(signer, {
    issuer: names.ca,
    subject: names.ak,
    spki: tpm.akSpki,
    serial: Uint8Array.of(3),
    ...change,
  });

/** Sound evidence, with parts replaced. */
function material(
  change: Partial<TpmMaterial> & {
    readonly quote?: QuoteContent;
    readonly pcrs?: Map<number, Uint8Array>;
  } = {},
): TpmMaterial {
  const { quote, ...rest } = change;
  const pcrs = change.pcrs ?? quotedPcrs();
  const extraData = crypto.hash('sha256', reportData);
  const attest = tpm.attest(pcrs, { extraData, ...quote });
  return {
    attest,
    signature: tpm.sign(attest, quote),
    certificates: [ak, ca, root],
    configExtensions: [configDigest],
    eventLog: eventLog(boot),
    ...rest,
    pcrs,
  };
}

const verify = (
  given: TpmMaterial = material(),
  endorsements: Endorsements = noEndorsements,
  anchors: readonly TrustAnchor[] = [anchor],
) => verifyTpmEvidence(parseTpmCollection(tpmCollection(given)), endorsements, anchors, now);

describe('genuine TPM evidence (protocol.md s.4)', () => {
  it('verifies up to binding and config document', async () => {
    const collection = encodeCmw(tpmCollection(material()));
    const schemes: readonly AnyScheme[] = [tpmScheme];
    const inputs = { schemes, endorsements: noEndorsements, anchors: [anchor], at: now };
    const request = { collection, configDocument, reportData };
    const { claims } = await verifyEvidence(request, inputs);
    expect(claims).toMatchObject({ format: 'tpm', simulated: true, ak: { by: 'certificate' } });
    expect(claims.instanceId).toEqual(crypto.hash('sha256', tpm.akSpki));
    const other = { ...request, configDocument: utf8('other') };
    expect(await refusalOf(verifyEvidence(other, inputs))).toBe('CONFIG_MISMATCH');
    const replayed = { ...request, reportData: new Uint8Array(64) };
    expect(await refusalOf(verifyEvidence(replayed, inputs))).toBe('BINDING_MISMATCH');
  });

  it('every quoted PCR is explained, and Secure Boot proven', async () => {
    const { measurements } = await verify();
    expect([...measurements.explained].sort((a, b) => a - b)).toEqual([...quotedPcrs().keys()]);
    expect(measurements.secureBoot.state).toBe('enabled');
    expect(measurements.bank).toBe('sha256');
  });

  it('chains may be completed from endorsements', async () => {
    const endorsements = { certificates: [root, ca], crls: [] };
    expect((await verify(material({ certificates: [ak] }), endorsements)).ak.by).toBe(
      'certificate',
    );
  });

  it('without an event log only untouched PCRs and the config PCR are explained', async () => {
    const { eventLog: _, ...bare } = material();
    const { measurements } = await verify(bare);
    const untouched = [8, 9, 10, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23];
    expect([...measurements.explained].sort((a, b) => a - b)).toEqual(
      [...untouched, 15].sort((a, b) => a - b),
    );
    expect(measurements.secureBoot.state).toBe('unknown');
  });

  it('a log that does not explain PCR 7 says nothing of Secure Boot', async () => {
    const { measurements } = await verify(material({ eventLog: eventLog(boot.slice(0, -3)) }));
    expect(measurements.explained.has(7)).toBe(false);
    expect(measurements.secureBoot.state).toBe('unknown');
  });

  it('later extensions of the config PCR do not change whose config it is', async () => {
    const pcrs = quotedPcrs();
    const machineId = digest('sha256', utf8('machine-id'));
    pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, machineId));
    const claims = await verify(material({ pcrs, configExtensions: [configDigest, machineId] }));
    expect(claims.configBinding).toEqual({ field: 'PCR 15', hash: 'sha256', digest: configDigest });
  });

  it.each<[string, () => TpmMaterial]>([
    [
      'of which the log tells instead',
      () => {
        const elsewhere: FakeEvent = { register: configPcr, type: 13, data: utf8('another') };
        const pcrs = pcrsAfter([...boot, elsewhere]);
        return material({ pcrs, eventLog: eventLog([...boot, elsewhere]) });
      },
    ],
    ['into which nothing was measured', () => material({ pcrs: pcrsAfter(boot) })],
    [
      'that holds digests of another length',
      () => {
        const pcrs = pcrsAfter(boot);
        const long = concat(configDigest, configDigest);
        pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, long));
        return material({ pcrs, configExtensions: [long] });
      },
    ],
  ])('a config document that the agent names is not believed for a PCR %s', async (_, make) => {
    expect(await refusalOf(verify(make()))).toBe('EVENT_LOG_MISMATCH');
  });

  it.each(['rsa', 'P-384'] as const)('an AK of kind %s', async (kind) => {
    const other = new FakeTpm(kind);
    const pcrs = quotedPcrs();
    const attest = other.attest(pcrs);
    const certificate = await akCertificate({ spki: other.akSpki });
    const given = { ...material(), attest, signature: other.sign(attest), pcrs };
    await verify({ ...given, certificates: [certificate, ca, root] });
  });
});

describe('step 1: trust in the AK', () => {
  const usage = (bits: string, unused: number) => [
    leafExtensions()[0]!,
    extension(
      '2.5.29.15',
      concat(fromHex(`0302${unused.toString(16).padStart(2, '0')}`), fromHex(bits)),
      true,
    ),
  ];
  const purposes = (...ids: string[]) =>
    extension('2.5.29.37', der.sequence(...ids.map((id) => der.oid(id))));
  const weakRsa = new Uint8Array(
    generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({
      format: 'der',
      type: 'spki',
    }),
  );
  const withAk = async (change: Partial<CertificateContent>, signer = caKey) =>
    verify(material({ certificates: [await akCertificate(change, signer), ca, root] }));
  const rows: [string, () => Promise<unknown>, string][] = [
    [
      'no certificate and no credential',
      () => verify({ ...material(), certificates: [] }),
      'AK_UNTRUSTED',
    ],
    ['a root that is not pinned', () => verify(material(), noEndorsements, []), 'UNTRUSTED_ROOT'],
    [
      'an anchor of another format',
      () => verify(material(), noEndorsements, [{ ...anchor, format: 'snp' }]),
      'UNTRUSTED_ROOT',
    ],
    [
      'a missing intermediate',
      () => verify(material({ certificates: [ak, root] })),
      'UNTRUSTED_ROOT',
    ],
    ['a certificate by another key', () => withAk({}, rootKey), 'CHAIN_INVALID'],
    ['a certificate out of date', () => withAk({ notAfter: now - 1000 }), 'CERT_EXPIRED'],
    ['the certificate of an EK', () => withAk({ extensions: usage('20', 5) }), 'WRONG_KEY_TYPE'],
    [
      'a certificate for signing and decryption',
      () => withAk({ extensions: usage('a0', 5) }),
      'WRONG_KEY_TYPE',
    ],
    [
      'a certificate for TLS',
      () => withAk({ extensions: [...leafExtensions(), purposes('1.3.6.1.5.5.7.3.2')] }),
      'WRONG_KEY_TYPE',
    ],
    ['the certificate of a weak key', () => withAk({ spki: weakRsa }), 'WRONG_KEY_TYPE'],
    ['the certificate of a CA', () => withAk({ extensions: caExtensions() }), 'WRONG_KEY_TYPE'],
    [
      'an unknown critical extension',
      () =>
        withAk({ extensions: [...leafExtensions(), extension('1.2.3', fromHex('0500'), true)] }),
      'UNKNOWN_CRITICAL',
    ],
    [
      'the certificate of another AK',
      () => withAk({ spki: spkiOf(caKey) }),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'a revoked certificate',
      async () => {
        const crls = [await issueCrl(caKey, { issuer: names.ca, revoked: [Uint8Array.of(3)] })];
        return verify(material(), { certificates: [], crls });
      },
      'CERT_REVOKED',
    ],
    [
      'a revocation list out of date',
      async () => {
        const crls = [await issueCrl(caKey, { issuer: names.ca, nextUpdate: now - 1000 })];
        return verify(material(), { certificates: [], crls });
      },
      'COLLATERAL_STALE',
    ],
  ];
  it.each(rows)('%s is refused', async (_, work, code) => {
    expect(await refusalOf(work())).toBe(code);
  });

  it('a certificate may name attestation as its purpose (tcg-kp-AIKCertificate)', async () => {
    const extensions = [...leafExtensions(), purposes('1.3.6.1.5.5.7.3.2', '2.23.133.8.3')];
    expect((await withAk({ extensions })).ak.by).toBe('certificate');
  });

  it("an instance of Google Cloud is Google's word, not a maker of TPMs'", async () => {
    const instance = der.sequence(
      der.utf8String('zone'),
      der.integer(1),
      der.utf8String('project'),
      der.integer(2),
      der.utf8String('name'),
    );
    const named = extension('1.3.6.1.4.1.11129.2.1.21', instance);
    const extensions = [...leafExtensions(), named];
    const given = material({ certificates: [await akCertificate({ extensions }), ca, root] });
    const under = (more: Partial<TrustAnchor>) =>
      verify(given, noEndorsements, [{ ...anchor, ...more }]);
    expect((await under({})).ak).toMatchObject({ instance: { projectId: 'project' } });
    expect((await under({ isTpmMaker: true })).ak).toMatchObject({ instance: undefined });
  });

  it('a critical subject alternative name is read over, as EK and AK certificates have it', async () => {
    const san = extension('2.5.29.17', fromHex('3000'), true);
    await withAk({ extensions: [...leafExtensions(), san] });
  });

  const byCredential = (attributes: number | undefined, name: Uint8Array) => {
    const akPublic = attributes === undefined ? tpm.akPublic() : tpm.akPublic(attributes);
    const value = encodeActivatedKey({
      akName: name,
      ekDigest: new Uint8Array(32).fill(7),
      anchorName: 'maker',
      simulated: false,
    });
    const documents = [{ mediaType: activatedAkType, value }];
    return verify(
      { ...material({ akPublic }), certificates: [] },
      { ...noEndorsements, documents },
    );
  };

  it('an AK whose credential this server saw activated is trusted', async () => {
    const claims = await byCredential(undefined, tpm.akName());
    expect(claims).toMatchObject({ simulated: false, ak: { by: 'activated-credential' } });
    expect(claims.chipId).toEqual(new Uint8Array(32).fill(7));
  });

  it('another AK than the activated one is not', async () => {
    const name = new FakeTpm().akName();
    expect(await refusalOf(byCredential(undefined, name))).toBe('AK_UNTRUSTED');
  });

  it('an unrestricted key is no AK, activated or not', async () => {
    const attributes = 0x00040072;
    expect(await refusalOf(byCredential(attributes, tpm.akName(attributes)))).toBe('AK_UNTRUSTED');
  });
});

describe('steps 2 to 8: signature, selection, values, log', () => {
  const sha1Pcrs = () => new Map([[0, new Uint8Array(20)]]);
  const rows: [string, () => TpmMaterial, string][] = [
    [
      'a quote of another AK',
      () => ({ ...material(), signature: new FakeTpm().sign(material().attest) }),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'the SHA-1 bank',
      () => material({ pcrs: sha1Pcrs(), quote: { bank: 'sha1' } }),
      'PCR_SELECTION',
    ],
    [
      'two banks',
      () =>
        material({
          quote: { selections: concat(u32(2), u16(11), fromHex('0101'), u16(12), fromHex('0101')) },
        }),
      'PCR_SELECTION',
    ],
    ['no bank', () => material({ quote: { selections: u32(0) } }), 'PCR_SELECTION'],
    [
      'no PCR',
      () => material({ quote: { selections: concat(u32(1), u16(11), fromHex('0100')) } }),
      'PCR_MISMATCH',
    ],
    ['values of another bank', () => material({ quote: { bank: 'sha384' } }), 'MALFORMED'],
    [
      'another value',
      () => {
        const good = material();
        return { ...good, pcrs: new Map([...good.pcrs, [0, new Uint8Array(32)]]) };
      },
      'PCR_MISMATCH',
    ],
    [
      'the same values under other numbers',
      () => {
        const good = material();
        const [a, b] = [good.pcrs.get(4)!, good.pcrs.get(7)!];
        return { ...good, pcrs: new Map([...good.pcrs, [4, b], [7, a]]) };
      },
      'PCR_MISMATCH',
    ],
    [
      'fewer values than quoted',
      () => {
        const good = material();
        return { ...good, pcrs: new Map([...good.pcrs].slice(1)) };
      },
      'PCR_MISMATCH',
    ],
    [
      'more values than quoted',
      () => {
        const good = material({ pcrs: new Map([...quotedPcrs()].slice(0, 16)) });
        return { ...good, pcrs: new Map([...good.pcrs, [16, new Uint8Array(32)]]) };
      },
      'PCR_MISMATCH',
    ],
    [
      'a log without the quoted bank',
      () => material({ eventLog: eventLog(boot, ['sha1']) }),
      'EVENT_LOG_MISMATCH',
    ],
    [
      'no extension of the config PCR',
      () => material({ configExtensions: [] }),
      'EVENT_LOG_MISMATCH',
    ],
    [
      'another extension of the config PCR',
      () => material({ configExtensions: [new Uint8Array(32)] }),
      'EVENT_LOG_MISMATCH',
    ],
    [
      'a config PCR that is not quoted',
      () => material({ pcrs: new Map([...quotedPcrs()].slice(0, 15)) }),
      'EVENT_LOG_MISMATCH',
    ],
  ];
  it.each(rows)('%s is refused', async (_, make, code) => {
    expect(await refusalOf(verify(make()))).toBe(code);
  });

  it('a change of any byte of the quote is refused', async () => {
    const good = material();
    for (let at = 0; at < good.attest.length; at++) {
      const attest = good.attest.slice();
      attest[at]! ^= 1;
      const code = await refusalOf((async () => verify({ ...good, attest }))());
      expect(['MALFORMED', 'SIZE', 'EVIDENCE_SIGNATURE_INVALID'], `byte ${at}`).toContain(code);
    }
  });
});
