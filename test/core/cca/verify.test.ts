import { beforeAll, describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { appraise, deny, lacks } from '#core/cca/appraise.js';
import { decodePlatformKey } from '#core/cca/endorsement.js';
import { ccaCollection } from '#core/cca/evidence.js';
import { type CcaRules, ccaLevelRules, defaultRules } from '#core/cca/rules.js';
import { ccaScheme } from '#core/cca/scheme.js';
import { parseCcaToken } from '#core/cca/token.js';
import { verifyCcaToken } from '#core/cca/verify.js';
import { ecPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { type Endorsements, noEndorsements } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { crypto } from '#crypto';
import { FakeCca, implementationId, instanceId, type TokenContent } from '../../fakes/cca.js';
import { refusalOf } from '../../refusal.js';

let cca: FakeCca;
let other: EcPrivateKey;
beforeAll(async () => {
  cca = await FakeCca.create();
  other = await crypto.generateEcKey('P-384');
});

const verify = async (content: TokenContent = {}, endorsements?: Endorsements) =>
  verifyCcaToken(parseCcaToken(await cca.token(content)), endorsements ?? cca.endorsements());

describe('a genuine token (draft-ffm-rats-cca-token s.5)', () => {
  const shapes: TokenContent[] = [{}, { barePoint: true }, { unwrapped: true }];
  it.each(shapes)('%o verifies', async (content) => {
    const claims = await verify(content);
    expect(claims).toMatchObject({ format: 'cca', simulated: true, endorser: 'fake maker' });
    expect(claims.chipId).toEqual(instanceId);
    expect(claims.reportData).toEqual(new Uint8Array(64).fill(7));
  });

  it('whether the platform is hardware is what its endorser says', async () => {
    expect((await verify({}, cca.endorsements({ simulated: false }))).simulated).toBe(false);
  });

  it('verifies up to binding and config document', async () => {
    const reportData = crypto.hash('sha512', utf8('binding'));
    const collection = encodeCmw(ccaCollection(await cca.token({ realm: { 10: reportData } })));
    const request = { collection, configDocument: utf8('config document'), reportData };
    const inputs = { schemes, endorsements: cca.endorsements(), anchors: [], at: 0 };
    expect((await verifyEvidence(request, inputs)).claims.format).toBe('cca');
    const decoy = { ...request, configDocument: utf8('other') };
    expect(await refusalOf(verifyEvidence(decoy, inputs))).toBe('CONFIG_MISMATCH');
    const replayed = { ...request, reportData: new Uint8Array(64) };
    expect(await refusalOf(verifyEvidence(replayed, inputs))).toBe('BINDING_MISMATCH');
  });

  it('a token beside other evidence is refused', async () => {
    const alone = ccaCollection(await cca.token());
    const both = new Map([...alone, ['snp', alone.get('cca')!] as const]);
    expect(await refusalOf(() => ccaScheme.parse(both))).toBe('UNSUPPORTED_EVIDENCE');
    const mistyped = new Map([['cca', { ...alone.get('cca')!, mediaType: 'text/plain' }]]);
    expect(await refusalOf(() => ccaScheme.parse(mistyped))).toBe('UNSUPPORTED_EVIDENCE');
  });
});

describe('a forged token is refused, one reason each', () => {
  const foreignKey = () => ({ key: ecPublicKey('P-384', other.publicPoint) });
  const rows: [string, () => Promise<unknown>, string][] = [
    ['no endorsed key', () => verify({}, noEndorsements), 'AK_UNTRUSTED'],
    [
      'a key endorsed for another implementation',
      () => verify({}, cca.endorsements({ implementationId: new Uint8Array(32) })),
      'AK_UNTRUSTED',
    ],
    [
      'a key endorsed for another instance',
      () => verify({}, cca.endorsements({ instanceId: new Uint8Array(33) })),
      'AK_UNTRUSTED',
    ],
    [
      'another key than the endorsed one',
      () => verify({}, cca.endorsements(foreignKey())),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'a platform part by another key',
      () => verify({ platformSigner: other }),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'a realm part by another key than it names',
      () => verify({ realmSigner: other }),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'a platform part over another realm key',
      () => verify({ platform: { 10: crypto.hash('sha256', utf8('other key')) } }),
      'REALM_KEY_MISMATCH',
    ],
    [
      'a challenge by another hash than the realm names',
      () => verify({ realm: { 44240: 'sha-512' } }),
      'REALM_KEY_MISMATCH',
    ],
    [
      'a challenge over the point where the claim is a COSE_Key',
      () => verify({ platform: { 10: crypto.hash('sha256', cca.realmKeyBytes(true)) } }),
      'REALM_KEY_MISMATCH',
    ],
  ];
  it.each(rows)('%s', async (_, work, code) => {
    expect(await refusalOf(work())).toBe(code);
  });

  it('a realm part of another realm cannot be glued on', async () => {
    const second = await FakeCca.create();
    const mine = parseCcaToken(await cca.token());
    const theirs = parseCcaToken(await second.token());
    const glued = { platform: mine.platform, realm: theirs.realm };
    expect(await refusalOf(verifyCcaToken(glued, cca.endorsements()))).toBe('REALM_KEY_MISMATCH');
  });

  it('a change of any byte is refused', async () => {
    const good = await cca.token();
    // P-384 costs: every third byte reaches each field and each signature.
    for (let at = 0; at < good.length; at += 3) {
      const bytes = good.slice();
      bytes[at]! ^= 1;
      const work = (async () => verifyCcaToken(parseCcaToken(bytes), cca.endorsements()))();
      expect(await refusalOf(work), `byte ${at}`).not.toBe('accepted');
    }
  });

  it('an endorsement comes back as it was written', () => {
    const [document] = cca.endorsements().documents!;
    expect(decodePlatformKey(document!.value)).toMatchObject({
      implementationId,
      instanceId,
      endorser: 'fake maker',
      simulated: true,
    });
  });
});

describe('rules and levels', () => {
  const rim = crypto.hash('sha256', utf8('realm'));
  const reference = { initialMeasurement: rim, extensibleMeasurements: [], imageSvn: 3, name: '' };
  const rules: CcaRules = { ...defaultRules, references: [reference] };
  const bytes32 = new Uint8Array(32);
  const digest = (text: string) => crypto.hash('sha256', utf8(text));

  const lifecycles: [number, string[]][] = [
    [0x3000, []],
    [0x30ff, []],
    [0x0000, ['cca.lifecycle']],
    [0x2000, ['cca.lifecycle']],
    [0x2fff, ['cca.lifecycle']],
    [0x3100, ['cca.lifecycle']],
    [0x4000, ['cca.lifecycle']],
    [0x5000, ['cca.lifecycle']],
    [0x6000, ['cca.lifecycle']],
  ];
  it.each(lifecycles)(
    'lifecycle state %i fails %j, whatever a policy says',
    async (state, failed) => {
      const claims = await verify({ platform: { 2395: state } });
      expect(deny(claims).map(({ check }) => check)).toEqual(failed);
    },
  );

  const rows: [string, Partial<CcaRules>, string[]][] = [
    ['the defaults admit a known realm', {}, []],
    ['no reference admits nothing', { references: [] }, ['measurement']],
    [
      'another RIM',
      { references: [{ ...reference, initialMeasurement: bytes32 }] },
      ['measurement'],
    ],
    [
      'REMs that the reference states',
      {
        references: [
          { ...reference, extensibleMeasurements: [digest('rem0'), undefined, digest('rem2')] },
        ],
      },
      [],
    ],
    [
      'another REM3',
      {
        references: [
          { ...reference, extensibleMeasurements: [undefined, undefined, undefined, bytes32] },
        ],
      },
      ['measurement'],
    ],
    ['an admitted implementation', { implementations: [implementationId] }, []],
    ['another implementation', { implementations: [bytes32] }, ['implementation']],
    ['an admitted platform', { platformAllow: [instanceId] }, []],
    ['another platform', { platformAllow: [bytes32] }, ['platform-allow']],
    ['a denied platform', { platformDeny: [instanceId] }, ['platform-deny']],
    ['admitted firmware', { firmware: [digest('RMM'), digest('AP_BL31')] }, []],
    ['firmware of which one is not admitted', { firmware: [digest('RMM')] }, ['firmware']],
    ['admitted signers', { firmwareSigners: [digest('signer')] }, []],
    ['another signer', { firmwareSigners: [bytes32] }, ['firmware-signers']],
    ['an admitted configuration', { configs: [Uint8Array.of(0xcf, 0xcf)] }, []],
    ['another configuration', { configs: [bytes32] }, ['config']],
    [
      'all failures are listed',
      { references: [], platformDeny: [instanceId], configs: [bytes32] },
      ['measurement', 'platform-deny', 'config'],
    ],
  ];
  it.each(rows)('%s', async (_, asked, failed) => {
    const failures = appraise(await verify(), { ...rules, ...asked });
    expect(failures.map(({ check }) => check)).toEqual(failed.map((check) => `cca.${check}`));
  });

  it('levels ask for the SVN of the image, and never sink', async () => {
    const claims = await verify();
    expect(lacks(claims, rules, { imageSvnMin: 3 })).toEqual([]);
    expect(lacks(claims, rules, { imageSvnMin: 4 }).map(({ check }) => check)).toEqual([
      'cca.level.image-svn',
    ]);
    const [low, high] = [{ imageSvnMin: 1 }, { imageSvnMin: 2 }];
    expect(ccaLevelRules.decreasing(low, high)).toBeUndefined();
    expect(ccaLevelRules.decreasing(high, low)).toBe('image_svn_min');
    expect(ccaLevelRules.relaxed([low], [low, high])).toBeUndefined();
    expect(ccaLevelRules.relaxed([low, high], [low])).toBe('image_svn_min');
  });
});
