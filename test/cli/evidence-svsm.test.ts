import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { toHex, utf8 } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { parseSvsmCollection } from '#core/svsm/evidence.js';
import { vtpmServiceGuid } from '#core/svsm/manifest.js';
import { toPem } from '#core/x509/pem.js';
import { machineTime as now, svsmMachine } from '../fakes/machines.js';
import { FakeTpm } from '../fakes/tpm.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';

const folder = temporaryFolder('evidence-svsm');
const nonce = new Uint8Array(64).fill(5);

function put(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

type Machine = Awaited<ReturnType<typeof svsmMachine>>;
let machines: readonly [Machine, Machine];
let files: readonly [string, string];
let root: string;
beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  machines = [await svsmMachine(0), await svsmMachine(1)];
  const made = (machine: Machine) => machine.evidence(utf8('document')).collection(nonce);
  const [zero, one] = [await made(machines[0]), await made(machines[1])];
  files = [put('zero.cmw', encodeCmw(zero)), put('one.cmw', encodeCmw(one))];
  put('manifest.bin', parseSvsmCollection(one).manifest);
  root = put('ark.pem', toPem('CERTIFICATE', machines[0].files.roots![0]!.bytes));
});

describe('cvmp evidence on what an SVSM says', () => {
  const verify = (...argv: string[]) =>
    commandLine(['evidence', 'verify', ...argv, '--trust-anchors', root, '--json'], { now });

  test('verify judges hardware, services and vTPM as one', async () => {
    expect((await verify(files[1])).json()).toMatchObject({
      accepted: true,
      kind: 'svsm',
      claims: {
        nonce: toHex(nonce),
        services: vtpmServiceGuid,
        vtpm: { ak_trust: 'svsm-manifest', secure_boot: 'enabled' },
        hardware: { vmpl: 0, revocation_list: 'none at hand' },
      },
    });
  });

  test('an AK that the manifest does not name is trusted where somebody vouches for it', async () => {
    expect((await verify(files[0])).json()).toMatchObject({ code: 'AK_UNTRUSTED' });
    const own = put('ak.tpmt', machines[0].tpm.akPublic());
    expect((await verify(files[0], '--key', own)).json()).toMatchObject({
      accepted: true,
      claims: { vtpm: { ak_trust: 'svsm-activated-credential' } },
    });
    const other = put('other.tpmt', new FakeTpm().akPublic());
    expect((await verify(files[0], '--key', other)).json()).toMatchObject({
      code: 'AK_UNTRUSTED',
    });
  });

  test('show tells services and keys, in evidence and in a bare manifest', async () => {
    for (const file of [files[1], join(folder, 'manifest.bin')]) {
      const { code, terminal } = await commandLine(['evidence', 'show', file]);
      expect(code).toBe(0);
      expect(terminal.stdout).toContain(vtpmServiceGuid);
      expect(terminal.stdout).toMatch(/service: +vTPM\n *version: +1[\s\S]*attestation key/);
    }
    const { terminal } = await commandLine(['evidence', 'show', files[0]]);
    expect(terminal.stdout).toMatch(/version: +0\n *key 1:\n *kind: +EK/);
  });
});
