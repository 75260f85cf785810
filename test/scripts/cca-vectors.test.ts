import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ecSpki } from '#core/crypto.js';
import { toPem } from '#core/x509/pem.js';
import { judges } from '../../scripts/vectors/judges.js';
import { summarise } from '../../scripts/vectors/report.js';
import { judgeAll } from '../../scripts/vectors/run.js';
import { FakeCca } from '../fakes/cca.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';

describe.skipIf(sharedVectors() === undefined)('Arm CCA (needs ../shared/vectors)', () => {
  it('gives what every file says', async () => {
    const report = summarise(await judgeAll(join(sharedVectors()!, 'cca'), judges));
    expect(report.mismatches).toEqual([]);
    expect(report.kinds[0]!.total).toBeGreaterThan(0);
  });
});

describe('the judge of CCA tokens, on self-made ones', () => {
  it('sees acceptance, refusal, and a wrong expectation', async () => {
    const cca = await FakeCca.create();
    const root = temporaryFolder('cca');
    mkdirSync(join(root, 'negative'));
    const pem = (point: Uint8Array) => toPem('PUBLIC KEY', ecSpki('P-384', point));
    const files = {
      'token.cbor': await cca.token(),
      'negative/signer.cbor': await cca.token({ platformSigner: cca.realmKey }),
      'negative/cut.cbor': (await cca.token()).slice(0, 200),
      'platform_key.pem': pem(cca.platformKey.publicPoint),
      'realm_key.pem': pem(cca.realmKey.publicPoint),
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    const negative = (file: string, reason: string) => ({
      file: `negative/${file}.cbor`,
      verdict: 'reject',
      reason_class: reason,
    });
    const expected = {
      kind: 'arm-cca-token',
      outer_tag: 399,
      platform_claims: { 2395: 0x3003, 2402: 'sha-256' },
      realm_claims: { 44236: 'sha-256' },
      verdict: 'accept',
      negatives: [
        negative('signer', 'signature-invalid'),
        negative('cut', 'malformed'),
        negative('cut', 'signature-invalid'),
      ],
    };
    writeFileSync(join(root, 'expected.json'), JSON.stringify(expected));
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches.map(({ actual }) => actual)).toEqual(['reject (malformed)']);
    expect(report.kinds[0]).toMatchObject({ total: 6, asExpected: 5 });
  });
});
