import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { encode } from '#core/cbor/encode.js';
import { type EcPrivateKey, ecSpki } from '#core/crypto.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import {
  comid,
  corim,
  digest,
  environment,
  hashed,
  map,
  measured,
  oid,
  signedCorim,
  tagged,
} from '../fakes/corim.js';
import { caExtensions, ecCertificate } from '../fakes/ec-certificates.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';

const body = comid([
  [
    0,
    [
      [
        environment({ classId: oid('1.3.6.1.4.1.3704.3.1') }),
        [
          measured(
            [
              [1, 2],
              [2, [hashed(digest(1))]],
            ],
            641,
          ),
          measured([[1, 3]], 1),
        ],
      ],
      [
        environment({ vendor: 'Intel', model: 'TDX' }),
        [measured([[2, [hashed(digest(2))]]], 'mrtd')],
      ],
      [
        environment({ vendor: 'TCG', model: 'vTPM' }),
        [measured([[14, map([4, [hashed(digest(4, 32))]])]])],
      ],
      [
        environment({ vendor: 'Arm', model: 'CCA realm' }),
        [measured([[2, [hashed(digest(5, 32))]]], 'cca.rim')],
      ],
      [environment({ vendor: 'ACME' }), [measured([[1, 1]])]],
    ],
  ],
]);

let folder: string;
let key: EcPrivateKey;
const at = (name: string, content: Uint8Array | string) => {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
};
beforeAll(async () => {
  folder = temporaryFolder('policy-import');
  key = await crypto.generateEcKey('P-256');
});
const pem = (k: EcPrivateKey) => toPem('PUBLIC KEY', ecSpki(k.curve, k.publicPoint));
const whole = ['--name', 'web', '--cvm', 'web-*'];

describe('policy import', () => {
  test('a signed manifest becomes a policy that policy check takes as it is', async () => {
    const file = at('signed.corim', await signedCorim(key, corim([tagged(body)])));
    const signer = at('signer.pem', pem(key));
    const made = await commandLine(['policy', 'import', file, '--signer', signer, ...whole]);
    expect(made.code).toBe(0);
    expect(made.terminal.stderr).toContain('of no format of evidence (ACME)');
    const yaml = at('web.yaml', made.terminal.stdout);
    const checked = await commandLine(['policy', 'check', yaml, '--json']);
    expect(checked.code).toBe(0);
    expect(checked.json()).toMatchObject({
      policy: {
        appraisal: {
          snp: { measurements: [{ digest: '01'.repeat(48), image_svn: 2 }] },
          tdx: { references: [{ mr_td: '02'.repeat(48) }] },
          tpm: { boot: { references: [{ pcrs: { 4: '04'.repeat(32) } }] } },
          cca: { references: [{ initial_measurement: '05'.repeat(32) }] },
        },
        levels: [{ n: 1, snp: { guest_svn_min: 3 } }],
      },
    });
  });

  test('a certificate stands for its signer, and an authority for those below it', async () => {
    const ca = { key: await crypto.generateEcKey('P-384'), name: 'CA' };
    const caCert = await ecCertificate(ca, ca, { extensions: caExtensions() });
    const leaf = await ecCertificate(ca, { key, name: 'Leaf' }, { extensions: undefined });
    const options = { protected: [[33, [leaf]]] as const };
    const file = at('chained.corim', await signedCorim(key, corim([tagged(body)]), options));
    for (const certificate of [at('ca.der', caCert), at('leaf.pem', toPem('CERTIFICATE', leaf))]) {
      const args = ['policy', 'import', file, '--signer', certificate, '--json'];
      const { code, json } = await commandLine(args);
      expect(code).toBe(0);
      expect(json()).toMatchObject({ signer: expect.stringContaining('Leaf') });
    }
  });

  test('another signer, no signer, and no word about signers are refused', async () => {
    const file = at('again.corim', await signedCorim(key, corim([tagged(body)])));
    const stranger = at('stranger.pem', pem(await crypto.generateEcKey('P-256')));
    const plain = at('plain.corim', corim([tagged(body)]));
    const run = async (...args: string[]) =>
      (await commandLine(['policy', 'import', ...args, '--json'])).json();
    expect(await run(file, '--signer', stranger)).toMatchObject({
      error: { code: 'SIGNATURE_INVALID' },
    });
    expect(await run(plain, '--signer', stranger)).toMatchObject({
      error: { code: 'SIGNATURE_INVALID' },
    });
    expect(await run(file)).toMatchObject({ error: { code: 'USAGE' } });
    expect(await run(plain, '--unsigned')).toMatchObject({ signer: null });
    const bare = at('bare.comid', encode(body));
    expect(await run(bare, '--unsigned')).toMatchObject({ signer: null });
  });

  test('a manifest outside of its validity is refused at that time', async () => {
    const options = { from: 0, to: 1_700_000_000 };
    const file = at('old.corim', await signedCorim(key, corim([tagged(body)]), options));
    const signer = at('key.pem', pem(key));
    const args = ['policy', 'import', file, '--signer', signer, '--json'];
    expect((await commandLine(args)).json()).toMatchObject({ error: { code: 'COLLATERAL_STALE' } });
    expect((await commandLine([...args, '--at', '2023-01-01'])).code).toBe(0);
  });

  test('evidence show shows a manifest as a tree', async () => {
    const file = at('shown.corim', await signedCorim(key, corim([tagged(body)])));
    const { code, terminal } = await commandLine(['evidence', 'show', file]);
    expect(code).toBe(0);
    expect(terminal.stdout).toMatch(/signer-name: +Test Signer/);
    expect(terminal.stdout).toContain(`sha-384:${'01'.repeat(48)}`);
    expect(terminal.stdout).toContain('vendor Intel, model TDX');
  });
});
