import { describe, expect, it } from 'vitest';
import { concat, fromHex, utf8 } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import type { AnyScheme } from '#core/rats/scheme.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { tpmScheme } from '#core/tpm/scheme.js';
import { crypto } from '#crypto';
import { digest, eventLog, type FakeEvent, pcrsAfter } from '../../fakes/event-log.js';
import { FakeTpm, u16, u32 } from '../../fakes/tpm.js';
import { refusalOf } from '../../refusal.js';
import {
  ak,
  akCertificate,
  anchor,
  boot,
  ca,
  configDigest,
  configDocument,
  material,
  now,
  quotedPcrs,
  reportData,
  root,
  tpm,
  verify,
} from './made.js';

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
