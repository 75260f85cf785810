import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ecSpki } from '#core/crypto.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import { judges } from '../../scripts/vectors/judges.js';
import { summarise } from '../../scripts/vectors/report.js';
import { judgeAll } from '../../scripts/vectors/run.js';
import { comid, corim, environment, measured, signedCorim, tagged } from '../fakes/corim.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';

describe.skipIf(sharedVectors() === undefined)('CoRIM (needs ../shared/vectors)', () => {
  it('gives what every file says', async () => {
    const report = summarise(await judgeAll(join(sharedVectors()!, 'corim'), judges));
    expect(report.mismatches).toEqual([]);
    expect(report.kinds[0]!.total).toBeGreaterThan(0);
  });
});

describe('the judge of manifests, on self-made ones', () => {
  it('sees content, signatures, refusals, and wrong expectations', async () => {
    const root = temporaryFolder('corim');
    const key = await crypto.generateEcKey('P-256');
    const other = await crypto.generateEcKey('P-256');
    const body = comid([[0, [[environment({ vendor: 'ACME' }), [measured([[1, 7]])]]]]]);
    const plain = corim([tagged(body)]);
    const files = {
      'plain.cbor': plain,
      'plain.diag': `501({ / id / 0: "test-corim", 1: [506(<<{
        1: {0: "test-comid"}, 4: {0: [[{0: {1: "ACME"}}, [{1: {1: 7}}]]]} }>>)] })`,
      'wrong.diag': '501({0: "test-corim", 1: []})',
      'good.cbor': await signedCorim(key, plain),
      'stranger.cbor': await signedCorim(other, plain),
      'cut.cbor': plain.subarray(0, 40),
      'key.pem': toPem('PUBLIC KEY', ecSpki('P-256', key.publicPoint)),
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    const expected = {
      kind: 'corim-comid-cbor',
      files: {
        'plain.cbor': {
          outer_tag: 501,
          bytes: plain.length,
          trailing_bytes: 0,
          top_level_keys: [0, 1],
          diagnostic_notation: 'plain.diag',
          negatives: [{ file: 'cut.cbor', reason_class: 'malformed' }],
        },
        'good.cbor': {
          outer_tag: 18,
          cose_sign1_alg: -7,
          content_type: 'application/rim+cbor',
          payload_tag: 501,
          signature_verifies_under_key: true,
        },
        'stranger.cbor': { signature_verifies_under_key: false },
      },
      negatives: [
        { file: 'stranger.cbor', verdict: 'reject', reason_class: 'signature-invalid' },
        { file: 'stranger.cbor', reason_class: 'malformed' },
      ],
    };
    writeFileSync(join(root, 'expected.json'), JSON.stringify(expected));
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches.map(({ case: name, actual }) => [name, actual])).toEqual([
      ['stranger.cbor', 'reject (signature-invalid)'],
    ]);
    const { files: all } = expected;
    const wrong = {
      ...expected,
      files: {
        'plain.cbor': { ...all['plain.cbor'], outer_tag: 18, diagnostic_notation: 'wrong.diag' },
        'good.cbor': { ...all['good.cbor'], signature_verifies_under_key: false },
      },
      negatives: [],
    };
    writeFileSync(join(root, 'expected.json'), JSON.stringify(wrong));
    const seen = summarise(await judgeAll(root, judges)).mismatches;
    expect(seen.map(({ case: name }) => name)).toEqual([
      'plain.cbor: fields',
      'plain.cbor: content',
      'good.cbor: fields',
    ]);
  });
});
