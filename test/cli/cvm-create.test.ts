import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readKeyFile } from '#cli/profile/key-file.js';
import type { Profile } from '#cli/profile/profile.js';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { decodeConfigDocument, encodeConfigDocument } from '#core/rats/config-document.js';
import { tenantActivationProof, tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { parseIdBlock, snpKeyDigest, verifyIdBlock } from '#core/snp/launch/id-block.js';
import { reportFields } from '#core/snp/layout.js';
import { toPem } from '#core/x509/pem.js';
import type { CVMActivateRequest } from '#gen/cvmp/v1/platform_pb.js';
import { simulatedFirmware } from '#sim/firmware.js';
import { ekMachine } from '../fakes/machines.js';
import { FakeTpm } from '../fakes/tpm.js';
import { commandLine } from './command-line.js';
import { authority, FakePlatform, fakeNow } from './fake-platform.js';
import { type FakeTenant, fakeServers, fakeTenant } from './fake-servers.js';

let tenant: FakeTenant;
let profile: Profile;
let platform: FakePlatform;

beforeAll(async () => {
  tenant = await fakeTenant();
  const root = join(tenant.folder, 'root.pem');
  writeFileSync(root, toPem('CERTIFICATE', authority.arkCertificate));
  profile = { ...tenant.profile, trustAnchors: [root] };
});
beforeEach(() => {
  platform = new FakePlatform();
});

function run(argv: string, using = profile) {
  const servers = fakeServers(using, platform.routes, fakeNow).apis;
  return commandLine(argv.split(' '), { servers, profile: using, now: fakeNow });
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(tenant.folder, name);
  writeFileSync(path, content);
  return path;
}

const policyFor = (measurement: string) => `
policy_id: web
cvm_names: [web]
appraisal:
  allow_simulated: true
  snp: {measurements: [{digest: ${measurement}}]}
levels: [{n: 1, snp: {}}]
svn_floor: 1
`;

async function measured(more = ''): Promise<string> {
  const { json } = await run(`measure snp --image sample-v1${more} --json`);
  return (json() as { measurement: string }).measurement;
}

describe('cvm create (draft s.3.2, Figure 2)', () => {
  test('binds tenant, Key Server, policy anchor and name; the measurement is recomputed', async () => {
    const { code, terminal, json } = await run('cvm create web --image sample-v1 --json');
    expect(terminal.stderr).toBe('web: measurement recomputed here, as the platform predicts it\n');
    expect(code).toBe(0);
    const [request] = platform.requests;
    expect(decodeConfigDocument(request!.configDocument)).toEqual({
      tenantId: 'acme',
      keyServers: [thumbprint(profile.keyServer!.identityKey)],
      policyAnchor: thumbprint(tenant.publicKey),
      cvmName: 'web',
    });
    expect(request).toMatchObject({ keyServerAddress: '127.0.0.1:7443', name: 'web' });
    expect(toHex(request!.featureSetId)).toBe('09'.repeat(32));
    expect(json()).toMatchObject({ cvm: { predicted_measurement: await measured() } });
  });

  test('--svn comes with an ID block of this measurement, signed by the ID key', async () => {
    const { code } = await run('cvm create web --image sample-v1 --svn 3');
    expect(code).toBe(0);
    const { snp, features } = platform.requests[0]!;
    const block = parseIdBlock(snp!.idBlock);
    expect([block.guestSvn, block.guestPolicy, features!.svn]).toEqual([3, 0x30000n, 3]);
    expect(toHex(block.measurement)).toBe(await measured());
    const key = await readKeyFile(profile.idBlockKey!, 'P-384');
    const { idKeyDigest } = await verifyIdBlock(snp!.idBlock, snp!.idAuth);
    expect(idKeyDigest).toEqual(snpKeyDigest(ecPublicKey('P-384', key.publicPoint).point));
  });

  const lies: readonly (readonly [what: string, lie: FakePlatform['lies'], code: string])[] = [
    ['another command line', { launches: { cmdline: 'debug' } }, 'POLICY_MEASUREMENT'],
    ['another number of vCPUs', { launches: { vcpus: 2 } }, 'POLICY_MEASUREMENT'],
    ['other SEV features', { launches: { guestFeatures: 0x21n } }, 'POLICY_MEASUREMENT'],
    [
      'another prediction',
      { says: (cvm) => cvm.predictedMeasurement.fill(1) },
      'POLICY_MEASUREMENT',
    ],
    [
      'another firmware',
      { says: (cvm) => cvm.launchInputs!.firmwareDigest.fill(1) },
      'POLICY_MEASUREMENT',
    ],
    [
      'another guest policy',
      {
        says: ({ launchInputs }) => {
          launchInputs!.guestPolicy = 0xb0000n;
        },
      },
      'POLICY_MEASUREMENT',
    ],
    [
      'no launch inputs',
      {
        says: (cvm) => {
          delete cvm.launchInputs;
        },
      },
      'POLICY_MEASUREMENT',
    ],
    [
      'another config document',
      { says: (cvm) => cvm.configDocumentDigest.fill(1) },
      'CONFIG_MISMATCH',
    ],
    [
      "firmware that is not the image's",
      { firmware: simulatedFirmware({ build: 2 }) },
      'IMAGE_UNKNOWN',
    ],
  ];
  test.each(lies)('a platform that answers %s is refused', async (_, lie, code) => {
    platform.lies = lie;
    const answer = await run('cvm create web --image sample-v1 --start');
    expect(answer.code).toBe(1);
    expect(answer.terminal.stdout).toBe('');
    expect(answer.terminal.stderr).toContain(`cvmp: error: ${code} `);
    expect(platform.started).toEqual([]);
  });

  test('it is started by --start only, after its launch is verified', async () => {
    await run('cvm create web --image sample-v1');
    expect(platform.started).toEqual([]);
    await run('cvm create web --image sample-v1 --start');
    expect(platform.started).toEqual(['c-1']);
  });

  test('--policy refuses an image that the policy does not admit, before anything is created', async () => {
    const good = file('good.yaml', policyFor(await measured()));
    const bad = file('bad.yaml', policyFor('00'.repeat(48)));
    const refused = await run(`cvm create web --image sample-v1 --policy ${bad}`);
    expect(refused.code).toBe(1);
    expect(refused.terminal.stderr).toContain('POLICY_MEASUREMENT');
    expect(platform.requests).toEqual([]);
    expect((await run(`cvm create web --image sample-v1 --policy ${good}`)).code).toBe(0);
  });

  test('--policy counts reference values that measure snp --image wrote', async () => {
    const bad = file('other.yaml', policyFor('00'.repeat(48)));
    const values = join(tenant.folder, 'values.yaml');
    await measured(` --reference-values ${values}`);
    const options = `--policy ${bad} --reference-values ${values}`;
    expect((await run(`cvm create web --image sample-v1 ${options}`)).code).toBe(0);
  });

  test("own firmware enters the measurement; a copy of the image's must be the same", async () => {
    const own = file('own.fd', simulatedFirmware({ build: 7 }));
    const { code } = await run(`cvm create web --image sample-v1 --auxilary-firmware ${own}`);
    expect(code).toBe(0);
    expect(await measured(` --auxilary-firmware ${own}`)).not.toBe(await measured());
    const copy = await run(`cvm create web --image sample-v1 --firmware ${own}`);
    expect(copy.terminal.stderr).toContain('IMAGE_UNKNOWN the firmware in your file');
  });

  test('an image is named by name, digest, or the start of it', async () => {
    const digest = toHex(platform.images[0]!.digest);
    for (const name of [digest, digest.slice(0, 8)]) {
      expect((await run(`cvm create web --image ${name}`)).code).toBe(0);
    }
    for (const name of ['sample-v3', digest.slice(0, 7), 'SAMPLE-V1']) {
      const { code, terminal } = await run(`cvm create web --image ${name}`);
      expect(code).toBe(1);
      expect(terminal.stderr).toContain('it has sample-v1, sample-v2');
    }
  });

  const usage = [
    '',
    ' --image a --vcpus 0',
    ' --image a --vcpus 513',
    ' --image a --svn -1',
    ' --image a --svn x',
    ' --image a --memory-mib 1.5',
    ' --image a --key-id 00',
    ' --image a --request-id zz',
    ' --image a --firmware a --auxilary-firmware b',
    ' --image sample-v1 --bios x',
    ' --image sample-v1 --firmware /nowhere',
    ' --image sample-v1 --policy /nowhere',
  ];
  test.each(usage)('`cvm create web%s` is wrong usage', async (options) => {
    expect((await run(`cvm create web${options}`)).code).toBe(2);
    expect(platform.requests).toEqual([]);
  });

  test('an SVN without id_block_key in the profile names the entry', async () => {
    const without = { ...profile, idBlockKey: undefined };
    const { code, terminal } = await run('cvm create web --image sample-v1 --svn 1', without);
    expect(code).toBe(1);
    expect(terminal.stderr).toContain('CONFIG');
    expect(terminal.stderr).toContain('id_block_key');
  });
});

describe('cvm update', () => {
  test('puts another image and SVN under the CVM; its config document stays', async () => {
    await run('cvm create web --image sample-v1');
    const { code, terminal } = await run('cvm update web --image sample-v2 --svn 2');
    expect(terminal.stderr).toBe('');
    expect(code).toBe(0);
    expect(terminal.stdout).toContain(toHex(platform.images[1]!.digest));
  });

  test('a platform that launches something else is refused', async () => {
    await run('cvm create web --image sample-v1');
    platform.lies = { launches: { cmdline: 'other' } };
    const { code, terminal } = await run('cvm update web --image sample-v2');
    expect(code).toBe(1);
    expect(terminal.stderr).toContain('POLICY_MEASUREMENT');
  });
});

describe('cvm verify (draft-00 s.2.4)', () => {
  test("fresh, genuine evidence of this tenant's CVM: is a CVM, exit code 0", async () => {
    await run('cvm create web --image sample-v1');
    const out = join(tenant.folder, 'web.evidence');
    const { code, json } = await run(`cvm verify web --json --out ${out}`);
    expect(json()).toMatchObject({ verdict: 'cvm', simulated: true, launch_recomputed: true });
    expect(code).toBe(0);
    const root = profile.trustAnchors[0]!;
    const kept = await run(`evidence verify ${out} --trust-anchors ${root} --json`);
    expect(kept.json()).toMatchObject({ accepted: true, claims: { simulated: true } });
    expect(readFileSync(out).length).toBeGreaterThan(1184);
  });

  test('--policy adds the appraisal', async () => {
    await run('cvm create web --image sample-v1');
    const good = file('good.yaml', policyFor(await measured()));
    const bad = file('bad.yaml', policyFor('00'.repeat(48)));
    const admitted = await run(`cvm verify web --policy ${good}`);
    expect([admitted.code, admitted.terminal.stdout]).toEqual([
      0,
      expect.stringContaining('level 1'),
    ]);
    const refused = await run(`cvm verify web --policy ${bad} --json`);
    expect(refused.code).toBe(1);
    expect(refused.json()).toMatchObject({
      verdict: 'not-a-cvm',
      appraisal: { accepted: false, failures: [{ code: 'POLICY_MEASUREMENT' }] },
    });
  });

  const other = (tenantId: string, cvmName: string) =>
    encodeConfigDocument({
      tenantId,
      cvmName,
      keyServers: [new Uint8Array(32)],
      policyAnchor: new Uint8Array(32),
    });
  const bytes = (offset: number) => (report: Uint8Array) => {
    report[offset]! ^= 1;
  };
  const refusals: readonly (readonly [what: string, lie: FakePlatform['lies'], code: string])[] = [
    ['an old answer', { nonce: new Uint8Array(32) }, 'BINDING_MISMATCH'],
    ['a CVM of another tenant', { document: other('evil', 'web') }, 'CONFIG_MISMATCH'],
    ['another CVM of the tenant', { document: other('acme', 'db') }, 'CONFIG_MISMATCH'],
    [
      'one bit changed in the report',
      { tamper: bytes(reportFields.MEASUREMENT.offset) },
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'an unsigned report',
      { tamper: (report) => report.fill(0, 0x2a0) },
      'EVIDENCE_SIGNATURE_INVALID',
    ],
  ];
  test.each(refusals)('%s: is not, exit code 1', async (_, lie, reason) => {
    await run('cvm create web --image sample-v1');
    if (lie.document === undefined) {
      platform.lies = lie;
    } else {
      // Launched with another document; the platform says nothing of it.
      platform.lies = { ...lie, says: (cvm) => cvm.configDocumentDigest.fill(0) };
      await run('cvm create web --image sample-v1');
    }
    const { code, json } = await run('cvm verify web --json');
    expect(code).toBe(1);
    expect(json()).toMatchObject({ verdict: 'not-a-cvm', reason: { code: reason } });
  });

  test('launch inputs that are not those of the evidence: is not', async () => {
    await run('cvm create web --image sample-v1');
    platform.cvm!.launchInputs!.cmdline = 'something nicer';
    expect((await run('cvm verify web --json')).json()).toMatchObject({
      verdict: 'not-a-cvm',
      reason: { code: 'POLICY_MEASUREMENT' },
    });
  });

  test('a root that the profile does not name: is not', async () => {
    await run('cvm create web --image sample-v1');
    const { json } = await run('cvm verify web --json', tenant.profile);
    expect(json()).toMatchObject({ verdict: 'not-a-cvm', reason: { code: 'UNTRUSTED_ROOT' } });
  });

  describe('a TPM whose EK alone is certified (protocol.md s.4, AK trust a)', async () => {
    const machine = await ekMachine();
    beforeEach(async () => {
      await run('cvm create web --image sample-v1');
      platform.cvm!.launchInputs = undefined;
      const { configDocument } = platform.requests[0]!;
      const { collection } = machine.evidence(configDocument);
      platform.evidence = async (nonce) => ({
        configDocument,
        cmwCollection: encodeCmw(await collection(tenantVerifyReportData(nonce, configDocument))),
      });
    });
    const opened = (tpm: FakeTpm) => async (request: CVMActivateRequest) => {
      const { nonce, credentialBlob, encryptedSecret } = request;
      const secret = await machine.ek.activate(tpm.akName(), credentialBlob, encryptedSecret);
      return secret === undefined
        ? new Uint8Array(32)
        : tenantActivationProof(secret, nonce, { credentialBlob, encryptedSecret });
    };
    const verify = () => {
      const root = file('tpm-maker.pem', machine.files.tpmMakers![0]!.bytes);
      return run('cvm verify web --json', { ...profile, trustAnchors: [root] });
    };

    test('opens a credential of the tenant: is a CVM', async () => {
      platform.activate = opened(machine.tpm);
      const { code, json } = await verify();
      expect([code, json()]).toEqual([0, expect.objectContaining({ verdict: 'cvm' })]);
    });

    test('does not open it, as another AK is in it: is not', async () => {
      platform.activate = opened(new FakeTpm());
      const { code, json } = await verify();
      expect(code).toBe(1);
      expect(json()).toMatchObject({ verdict: 'not-a-cvm', reason: { code: 'AK_UNTRUSTED' } });
    });

    test('of which the platform says nothing: cannot tell', async () => {
      expect((await verify()).json()).toMatchObject({ verdict: 'cannot-tell' });
    });
  });

  test('a platform that does not answer: cannot tell', async () => {
    await run('cvm create web --image sample-v1');
    platform.evidence = () => Promise.reject(new Error('away'));
    const { code, json, terminal } = await run('cvm verify web --json');
    expect(code).toBe(1);
    expect(json()).toMatchObject({ verdict: 'cannot-tell' });
    expect(terminal.stderr).toBe('');
  });
});
