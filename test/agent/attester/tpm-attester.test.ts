import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Attester } from '#agent/attester/attester.js';
import { toHex, utf8 } from '#core/bytes.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { appraise } from '#core/tpm/appraise.js';
import type { TpmClaims } from '#core/tpm/claims.js';
import { parseTpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { defaultRules, type TpmRules } from '#core/tpm/rules.js';
import { crypto } from '#crypto';
import { eventLog, pcrsAfter, soundBoot } from '../../fakes/event-log.js';
import { Swtpm, swtpmMissing } from '../../fakes/swtpm.js';
import { refusalOf } from '../../refusal.js';
import { openOn, reportData, verify } from './tpm-cvm.js';

const boot = soundBoot();
const banks = ['sha256', 'sha384'] as const;
const uki = (bank: (typeof banks)[number]) => pcrsAfter(boot, bank).get(4)!;
const rules: TpmRules = {
  ...defaultRules,
  references: [{ pcrs: new Map([[4, uki('sha256')]]), imageSvn: 1, name: 'uki' }],
  akTrust: ['activated-credential'],
};
const parse = (evidence: Uint8Array) => parseTpmCollection(decodeCmw(evidence));

/** A machine that has just booted, with its event log. */
function start(tpm: Swtpm): void {
  tpm.extend(boot);
  tpm.file('log', eventLog(boot, ['sha1', 'sha256', 'sha384']));
}

const withoutSwtpm = swtpmMissing === undefined ? '' : ` (skipped: ${swtpmMissing} is missing)`;

describe.skipIf(swtpmMissing !== undefined)(`TPM 2.0 by tpm2-tools${withoutSwtpm}`, () => {
  let tpm: Swtpm;
  let attester: Attester;
  beforeAll(async () => {
    tpm = await Swtpm.create();
    start(tpm);
    attester = await openOn(tpm);
  }, 60_000);
  afterAll(async () => {
    await attester?.close();
    await tpm?.powerOff();
  });

  test('gives evidence that is verified and appraised: quote, event log, EK, activated AK', async () => {
    const { claims, scheme } = await verify(tpm, await attester.evidence(reportData), attester);
    expect(scheme.format).toBe('tpm');
    expect(attester.profiles).toEqual(['tpm']);
    expect(claims).toMatchObject({ simulated: true, configBinding: { field: 'PCR 15' } });
    const { measurements } = claims as TpmClaims;
    expect([...measurements.explained].sort((a, b) => a - b)).toEqual(defaultRules.pcrs);
    expect(measurements.secureBoot.state).toBe('enabled');
    expect(appraise(claims as TpmClaims, rules)).toEqual([]);
  });

  test('quotes exactly the PCRs of the configuration', async () => {
    const few = await openOn(tpm, { pcrs: [4, configPcr] });
    const { quote, pcrs } = parse(await few.evidence(reportData));
    expect(quote.selections).toEqual([{ bank: 'sha256', pcrs: [4, configPcr] }]);
    expect([...pcrs.keys()]).toEqual([4, configPcr]);
    const { claims } = await verify(tpm, await few.evidence(reportData), few);
    const failed = appraise(claims as TpmClaims, rules).map(({ check }) => check);
    expect(failed).toContain('tpm.selection');
    await few.close();
  });

  test('keeps its AK over restarts of the agent', async () => {
    const again = await openOn(tpm);
    const [a, b] = [await attester.evidence(reportData), await again.evidence(reportData)];
    expect(parse(b).akPublic?.name).toEqual(parse(a).akPublic?.name);
    expect(await refusalOf(verify(tpm, b, again))).toBe('accepted');
    await again.close();
  });

  test('evidence over another nonce is BINDING_MISMATCH', async () => {
    const evidence = await attester.evidence(crypto.randomBytes(64));
    expect(await refusalOf(verify(tpm, evidence, attester))).toBe('BINDING_MISMATCH');
  });

  test('a PCR value other than the quoted is PCR_MISMATCH', async () => {
    const evidence = await attester.evidence(reportData);
    const at = Buffer.from(evidence).indexOf(uki('sha256'));
    evidence[at]! ^= 1;
    expect(await refusalOf(verify(tpm, evidence, attester))).toBe('PCR_MISMATCH');
  });

  test('an AK that nobody activated is AK_UNTRUSTED', async () => {
    const evidence = await attester.evidence(reportData);
    expect(await refusalOf(verify(tpm, evidence, undefined))).toBe('AK_UNTRUSTED');
  });

  test('a credential for another AK of the same TPM is not opened', async () => {
    const key = tpm.file('rsa.ctx');
    const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign';
    const algorithm = ['-G', 'rsa2048:rsassa-sha256:null', '-a', attributes];
    tpm.run('createprimary', '-Q', '-C', 'e', ...algorithm, '-c', key);
    tpm.run('evictcontrol', '-Q', '-C', 'o', '-c', key, '0x81018201');
    const other = await openOn(tpm, { akHandle: 0x81018201 });
    const evidence = await other.evidence(reportData);
    expect(await refusalOf(verify(tpm, evidence, attester))).toBe('AK_UNTRUSTED');
    expect(await refusalOf(verify(tpm, evidence, other))).toBe('accepted');
    await other.close();
  });

  test('a key at the handle that is no AK is refused before anybody is spoken to', async () => {
    const opened = openOn(tpm, { akHandle: 0x81010001 });
    expect(await refusalOf(opened)).toBe('TPM_UNAVAILABLE');
  });

  test('requests at one time do not disturb each other', async () => {
    const data = Array.from({ length: 4 }, () => crypto.randomBytes(64));
    const all = await Promise.all(data.map((one) => attester.evidence(one)));
    const extra = all.map((evidence) => toHex(parse(evidence).quote.extraData));
    expect(extra).toEqual(data.map((one) => toHex(crypto.hash('sha256', one))));
  });

  test('credentials leave no session and no key loaded, opened or not', async () => {
    const evidence = await attester.evidence(reportData);
    for (let times = 0; times < 4; times++) {
      expect(await refusalOf(verify(tpm, evidence, attester))).toBe('accepted');
      const wrong = attester.activateCredential!(new Uint8Array(4), new Uint8Array(4));
      expect(await refusalOf(wrong)).toBe('AK_UNTRUSTED');
    }
    for (const kind of ['transient', 'loaded-session', 'saved-session']) {
      expect(Buffer.from(tpm.run('getcap', `handles-${kind}`)).toString()).toBe('');
    }
  });

  test('its files are for the agent alone, and go with it', async () => {
    const agent = await openOn(tpm);
    const folders = readdirSync(tpm.stateDir).map((name) => join(tpm.stateDir, name));
    expect(folders.map((folder) => statSync(folder).mode & 0o777)).toEqual([0o700, 0o700]);
    await agent.evidence(reportData);
    await agent.close();
    expect(readdirSync(tpm.stateDir)).toHaveLength(1);
  });

  test.each<[string, object, string]>([
    ['a bank that the TPM lacks', { bank: 'sha384' }, 'TPM_UNAVAILABLE'],
    ['no TPM at all', { tcti: 'swtpm:path=/nonexistent' }, 'TPM_UNAVAILABLE'],
    ['a device that is none', { tcti: 'device:/dev/null' }, 'TPM_UNAVAILABLE'],
  ])('%s is a coded error, and leaves nothing behind', async (_, change, code) => {
    const before = readdirSync(tpm.stateDir);
    expect(await refusalOf(openOn(tpm, change))).toBe(code);
    expect(readdirSync(tpm.stateDir)).toEqual(before);
  });

  test('without an event log the PCRs must be in the policy; one that cannot be read is a fault', async () => {
    const none = await openOn(tpm, { eventLogFile: '/nonexistent' });
    const { claims } = await verify(tpm, await none.evidence(reportData), none);
    const failed = appraise(claims as TpmClaims, rules).map(({ check }) => check);
    expect(failed).toContain('tpm.explained');
    await none.close();
    const broken = await openOn(tpm, { eventLogFile: tpm.folder });
    expect(await refusalOf(broken.evidence(reportData))).toBe('TPM_UNAVAILABLE');
    await broken.close();
  });
});

describe.skipIf(swtpmMissing !== undefined)(`a TPM over its life${withoutSwtpm}`, () => {
  let tpm: Swtpm;
  beforeAll(async () => {
    tpm = await Swtpm.create('sha256,sha384');
  }, 60_000);
  beforeEach(async () => {
    await tpm.restart();
    start(tpm);
    writeFileSync(tpm.file('measure.log'), '');
  });
  afterAll(() => tpm?.powerOff());

  test.each(banks)('bank %s, before and after a reboot', async (bank) => {
    const first = await openOn(tpm, { bank });
    const before = await first.evidence(reportData);
    expect(await refusalOf(verify(tpm, before, first))).toBe('accepted');
    await first.close();
    await tpm.restart();
    start(tpm);
    const second = await openOn(tpm, { bank });
    const evidence = await second.evidence(reportData);
    expect(parse(evidence).akPublic?.name).toEqual(parse(before).akPublic?.name);
    const { claims } = await verify(tpm, evidence, second);
    const reference = { pcrs: new Map([[4, uki(bank)]]), imageSvn: 1, name: 'uki' };
    const asked: TpmRules = { ...rules, bank, references: [reference] };
    expect(appraise(claims as TpmClaims, asked)).toEqual([]);
    await second.close();
  });

  test('a host that cuts the power again and again does not lock the AK', async () => {
    for (let times = 0; times < 8; times++) {
      await tpm.powerOff();
      await tpm.powerOn();
      const agent = await openOn(tpm);
      await agent.evidence(reportData);
      await agent.close();
    }
    tpm.run('dictionarylockout', '-c');
  });

  test('another boot is refused by measurement, and a log that does not tell it by replay', async () => {
    const agent = await openOn(tpm);
    tpm.run('pcrextend', `4:sha256=${'42'.repeat(32)}`);
    const { claims } = await verify(tpm, await agent.evidence(reportData), agent);
    const failed = appraise(claims as TpmClaims, rules).map(({ check }) => check);
    expect(failed).toEqual(['tpm.measurement', 'tpm.explained']);
    await agent.close();
  });

  test('the config document is measured once for each boot: another one is CONFIG_MISMATCH', async () => {
    const agent = await openOn(tpm);
    await agent.close();
    const other = await openOn(tpm, {}, utf8('another document'));
    expect(await refusalOf(other.evidence(reportData))).toBe('CONFIG_MISMATCH');
    await other.close();
  });

  test('whoever extends its PCR before the agent is CONFIG_MISMATCH', async () => {
    tpm.run('pcrextend', `${configPcr}:sha256=${'42'.repeat(32)}`);
    const late = await openOn(tpm);
    expect(await refusalOf(late.evidence(reportData))).toBe('CONFIG_MISMATCH');
    await late.close();
  });

  test("what systemd extends later is explained by systemd's log, or not at all", async () => {
    const agent = await openOn(tpm);
    const digest = crypto.hash('sha256', utf8('machine-id'));
    tpm.run('pcrextend', `${configPcr}:sha256=${toHex(digest)}`);
    expect(await refusalOf(agent.evidence(reportData))).toBe('CONFIG_MISMATCH');
    const record = (pcr: number, hex: string) =>
      `\x1e${JSON.stringify({ pcr, digests: [{ hashAlg: 'sha256', digest: hex }] })}\n`;
    const log = [
      record(11, '00'.repeat(32)),
      record(configPcr, toHex(digest)),
      '\x1enot JSON\n',
      record(configPcr, 'after the quote'),
    ];
    writeFileSync(tpm.file('measure.log'), log.join(''));
    const evidence = await agent.evidence(reportData);
    expect(parse(evidence).configExtensions).toHaveLength(2);
    expect(await refusalOf(verify(tpm, evidence, agent))).toBe('accepted');
    const broken = await openOn(tpm, { measureLogFile: tpm.folder });
    expect(await refusalOf(broken.evidence(reportData))).toBe('TPM_UNAVAILABLE');
    await Promise.all([agent.close(), broken.close()]);
  });

  test('an EK that is not kept is made again from its template', async () => {
    tpm.run('evictcontrol', '-Q', '-C', 'o', '-c', '0x81010001');
    const agent = await openOn(tpm);
    const evidence = await agent.evidence(reportData);
    expect(parse(evidence).ekCertificates).toHaveLength(1);
    expect(await refusalOf(verify(tpm, evidence, agent))).toBe('accepted');
    await agent.close();
  });

  test('an EK handle with another key is passed over for the EK that is certified', async () => {
    const key = tpm.file('key.ctx');
    tpm.run('createprimary', '-Q', '-C', 'o', '-G', 'rsa2048', '-c', key);
    tpm.run('evictcontrol', '-Q', '-C', 'o', '-c', key, '0x81010001');
    const agent = await openOn(tpm);
    const evidence = await agent.evidence(reportData);
    expect(await refusalOf(verify(tpm, evidence, agent))).toBe('accepted');
    await agent.close();
  });

  test('without an RSA certificate the P-384 EK is the one; without any the AK stays untrusted', async () => {
    const ekOf = (evidence: Uint8Array) => parse(evidence).ekCertificates.map((der) => der.length);
    tpm.run('nvundefine', '-C', 'p', '0x01c00002');
    // Where a P-256 certificate should be, there is none that can be read.
    tpm.nvStore(0x01c0000a, Uint8Array.of(0x30, 3, 2, 1, 1));
    const agent = await openOn(tpm);
    const evidence = await agent.evidence(reportData);
    expect(ekOf(evidence)).toHaveLength(1);
    expect(await refusalOf(verify(tpm, evidence, agent))).toBe('accepted');
    await agent.close();
    tpm.run('nvundefine', '-C', 'p', '0x01c00016');
    const bare = await openOn(tpm);
    const without = await bare.evidence(reportData);
    expect(ekOf(without)).toEqual([]);
    expect(await refusalOf(verify(tpm, without, bare))).toBe('AK_UNTRUSTED');
    await bare.close();
  });
});
