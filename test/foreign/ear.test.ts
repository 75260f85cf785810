import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ecPublicKey } from '#core/cose/key.js';
import { ecSpki } from '#core/crypto.js';
import { parseEar, signJwt, verifyEar } from '#core/ear/token.js';
import { parsePem, toPem } from '#core/x509/pem.js';
import { readPublicKeyInfo } from '#core/x509/public-key.js';
import { crypto } from '#crypto';
import { appraisal, ear } from '../core/ear/made.js';
import { temporaryFolder } from '../run-folder.js';

const script = fileURLToPath(new URL('ear.py', import.meta.url));
const python = ['/usr/bin/python3', 'python3'].find(
  (path) => spawnSync(path, ['-c', 'import cryptography']).status === 0,
);

describe.skipIf(python === undefined)(
  'EAR and another implementation (skipped without python3-cryptography)',
  () => {
    const folder = temporaryFolder('foreign-ear');
    const run = (...args: string[]) =>
      execFileSync(python!, [script, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });

    test.each(['P-256', 'P-384'] as const)('a JWT of CVMP on %s verifies there', async (curve) => {
      const key = await crypto.generateEcKey(curve);
      const [token, pem] = [join(folder, `${curve}.jwt`), join(folder, `${curve}.pem`)];
      writeFileSync(token, await signJwt(key, ear({ submods: new Map([['snp', appraisal()]]) })));
      writeFileSync(pem, toPem('PUBLIC KEY', ecSpki(curve, key.publicPoint)));
      expect(JSON.parse(run('verify', token, pem).toString())).toMatchObject({
        eat_profile: 'tag:github.com,2023:veraison/ear',
        'ear.status': 'affirming',
        'ear.verifier-id': { developer: 'https://verifier.example', build: '1.0' },
        submods: {
          snp: {
            'ear.status': 'affirming',
            'ear.trustworthiness-vector': { executables: 3, hardware: 2 },
            'ear.appraisal-policy-id': 'https://policy.example/1',
          },
        },
      });
    });

    test('a result as deployed verifiers write it is read and verified here', async () => {
      const [token, pem] = [join(folder, 'made.jwt'), join(folder, 'made.pem')];
      run('make', token, pem);
      const der = parsePem(readFileSync(pem))[0]!.der;
      const key = readPublicKeyInfo(der, 'key');
      if (key.kind !== 'ec') throw new TypeError('not on a curve');
      const signed = parseEar(new Uint8Array(readFileSync(token)));
      const at = 1_780_272_010_000;
      await verifyEar(signed, [ecPublicKey(key.curve, key.point)], { at, ageSecondsMax: 60 });
      expect(signed.claims.nonces).toEqual([Uint8Array.from({ length: 64 }, (_, i) => 60 + i)]);
      expect(signed.claims.submods.get('cpu0')).toMatchObject({
        status: 'affirming',
        vector: { executables: 3, 'file-system': 0 },
        policyIds: ['policy:default'],
        cvmp: undefined,
      });
    });
  },
);
