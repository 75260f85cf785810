import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Attester, openAttester } from '#agent/attester/attester.js';
import type { TsmConfig } from '#agent/config-attester.js';
import { utf8 } from '#core/bytes.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import type { SvsmClaims } from '#core/svsm/claims.js';
import { vtpmServiceGuid } from '#core/svsm/manifest.js';
import { crypto } from '#crypto';
import type { SecurityProcessor } from '#sim/security-processor.js';
import { SimulatedSvsm } from '#sim/svsm.js';
import { SimulatedTsm } from '#sim/tsm.js';
import { serveTsm } from '#sim/tsm-server.js';
import { plainTsm } from '../../fakes/configfs-tsm.js';
import { eventLog, soundBoot } from '../../fakes/event-log.js';
import { launchTestGuest, simulatedProcessor, testTime } from '../../fakes/simulated-hardware.js';
import { Swtpm, swtpmMissing } from '../../fakes/swtpm.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';
import { configDocument, configOf, reportData, verify } from './tpm-cvm.js';

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

let processor: SecurityProcessor;
beforeAll(async () => {
  processor = await simulatedProcessor();
});

interface Guest {
  /** TPMT_PUBLIC of the EK that the SVSM names. */
  readonly ek?: Uint8Array;
  readonly tpm?: Swtpm;
  readonly tsm?: Partial<TsmConfig>;
  readonly document?: Uint8Array;
  readonly isPlain?: boolean;
}

/** The agent's attester of a guest below an SVSM, by the TSM that its configuration names. */
async function open(change: Guest = {}): Promise<Attester> {
  const { ek = utf8('no key'), tpm, document = configDocument } = change;
  const guest = await launchTestGuest(processor);
  const svsm = new SimulatedSvsm(guest, [{ guid: vtpmServiceGuid, manifest: ek }]);
  const path = join(temporaryFolder('svsm'), 'tsm');
  const server = await serveTsm(new SimulatedTsm(change.isPlain ? guest : svsm), path);
  endings.push(() => server.close());
  const service = { guid: undefined, manifestVersion: 0 };
  const attester = await openAttester(
    {
      tsm: { ...plainTsm, kind: 'socket', path, service, ...change.tsm },
      tpm: tpm && configOf(tpm),
      stateDir: tpm?.stateDir ?? '/nonexistent',
    },
    {
      configDocument: document,
      randomBytes: crypto.randomBytes,
      sleep: () => Promise.reject(new Error('nothing is waited for')),
    },
  );
  endings.push(() => attester.close());
  return attester;
}

const trust = () => ({
  schemes,
  anchors: [processor.chip.authority.anchor],
  endorsements: noEndorsements,
  at: testTime,
});

describe('evidence by an SVSM (protocol.md s.4, AK trust d)', () => {
  test.each([
    ['all services', undefined],
    ['one service', vtpmServiceGuid],
  ])('over the manifest of %s is what core takes', async (_, guid) => {
    const attester = await open({ tsm: { service: { guid, manifestVersion: 0 } } });
    expect(attester.profiles).toEqual(['svsm']);
    expect(attester.activateCredential).toBeUndefined();
    const collection = await attester.evidence(reportData);
    expect([...decodeCmw(collection).keys()]).toContain('snp-certs');
    const request = { collection, configDocument, reportData };
    const { claims, scheme } = await verifyEvidence(request, trust());
    expect(scheme.format).toBe('svsm');
    expect((claims as SvsmClaims).services).toEqual([vtpmServiceGuid]);
  });

  test('that binds another config document is CONFIG_MISMATCH before anybody is spoken to', async () => {
    const attester = await open({ document: utf8('another') });
    expect(await refusalOf(attester.evidence(reportData))).toBe('CONFIG_MISMATCH');
  });

  test('is refused by a guest without an SVSM, and by the name of the file', async () => {
    const attester = await open({ isPlain: true });
    await expect(attester.evidence(reportData)).rejects.toMatchObject({
      code: 'TSM_UNAVAILABLE',
      field: 'service_provider',
    });
  });

  test('is refused where the configuration names another guest module', async () => {
    const opened = open({ tsm: { provider: 'tdx_guest' } });
    expect(await refusalOf(opened)).toBe('TSM_UNAVAILABLE');
  });
});

const withoutSwtpm = swtpmMissing === undefined ? '' : ` (skipped: ${swtpmMissing} is missing)`;

describe.skipIf(swtpmMissing !== undefined)(`with a vTPM of the SVSM${withoutSwtpm}`, () => {
  async function booted(): Promise<{ tpm: Swtpm; ek: Uint8Array }> {
    const tpm = await Swtpm.create();
    endings.push(() => tpm.powerOff());
    tpm.extend(soundBoot());
    tpm.file('log', eventLog(soundBoot()));
    tpm.run('readpublic', '-Q', '-c', '0x81010001', '-f', 'tpmt', '-o', tpm.file('ek.tpmt'));
    return { tpm, ek: tpm.read('ek.tpmt') };
  }

  test('report, manifest and quote are of one session; the AK is activated for the EK named', async () => {
    const { tpm, ek } = await booted();
    const attester = await open({ tpm, ek });
    const evidence = await attester.evidence(reportData);
    const { claims } = await verify(tpm, evidence, attester, trust());
    const { vtpm } = claims as SvsmClaims;
    expect(vtpm?.akTrust).toBe('svsm-activated-credential');
    expect(vtpm?.measurements.secureBoot.state).toBe('enabled');
    expect(await refusalOf(verify(tpm, evidence, undefined, trust()))).toBe('AK_UNTRUSTED');
  });

  test('a TPM other than the one that the SVSM names opens no credential', async () => {
    const [own, other] = [await booted(), await booted()];
    const attester = await open({ tpm: own.tpm, ek: other.ek });
    const evidence = await attester.evidence(reportData);
    expect(await refusalOf(verify(own.tpm, evidence, attester, trust()))).toBe('AK_UNTRUSTED');
  });
});
