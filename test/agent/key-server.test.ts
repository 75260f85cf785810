import { writeFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { toHex } from '#core/bytes.js';
import { SimulatedTsm } from '#sim/tsm.js';
import { serveTsm } from '#sim/tsm-server.js';
import { startKeyServer, type TestKeyServer } from '../server/key-server/harness.js';
import { levels } from '../server/key-server/state.js';
import { runHere, TestCvm } from './cvm.js';

/** One boot of a CVM on the simulated host, to the delivered key. */
async function boot(s: TestKeyServer, cvm: TestCvm, change: object = {}, cmdline?: string) {
  const launched = await s.launch(cmdline === undefined ? {} : { cmdline });
  writeFileSync(cvm.path('config.cbor'), launched.configDocument);
  const tsm = await serveTsm(new SimulatedTsm(launched.guest), cvm.path('tsm'));
  const port = Number(s.t.host.grpcAddress.split(':').at(-1));
  const { ended, lines } = runHere(cvm, { port }, change);
  const code = await ended;
  await tsm.close();
  const last = lines.at(-1);
  return { code, said: last?.code ?? last?.disk_action };
}

async function keyServer() {
  const s = await startKeyServer();
  const cvm = new TestCvm();
  onTestFinished(() => cvm.stop());
  return { s, cvm };
}

/** Firmware of the host from the next boot on: its SNP component is the level that it proves. */
function firmware(s: TestKeyServer, snp: number): void {
  s.processor.configure({ tcb: { ...s.processor.settings.tcb, snp } });
}

describe('Key Agent and Key Server, over TLS, with simulated hardware', () => {
  test('Figures 4 to 6: allocate, acquire after a reboot, update; then an outdated CVM is refused', async () => {
    const { s, cvm } = await keyServer();
    await s.setPolicy({ levels: levels(3) });
    firmware(s, 1);
    expect(await boot(s, cvm)).toEqual({ code: 0, said: 'formatted' });
    expect(await boot(s, cvm)).toEqual({ code: 0, said: 'opened' });
    expect(await cvm.slots()).toEqual([1]);
    firmware(s, 3);
    expect(await boot(s, cvm)).toEqual({ code: 0, said: 'rekeyed' });
    expect(await cvm.slots()).toEqual([3]);
    expect(await boot(s, cvm)).toEqual({ code: 0, said: 'opened' });
    firmware(s, 2);
    expect(await boot(s, cvm)).toEqual({ code: 10, said: 'SVN_BELOW_FLOOR' });
  });

  test('a new disk takes one more key from the same root key, by KeyID; a foreign KeyID does not', async () => {
    const { s, cvm } = await keyServer();
    await s.setPolicy({ levels: levels(1) });
    await boot(s, cvm);
    const [key] = (await s.state.keys.list('acme', { pageSize: 10, pageToken: '' })).items;
    const disk = { path: 'disk2', backend: 'volume' };
    const again = await boot(s, cvm, { disk, key_id: toHex(key!.keyId) });
    expect(again).toEqual({ code: 0, said: 'formatted' });
    expect((await s.state.keys.list('acme', { pageSize: 10, pageToken: '' })).items).toHaveLength(
      1,
    );
    const foreign = { disk: { ...disk, path: 'disk3' }, key_id: '00'.repeat(16) };
    expect(await boot(s, cvm, foreign)).toEqual({ code: 10, said: 'NOT_FOUND' });
  });

  test('another measurement is refused, and without a policy nothing is released', async () => {
    const { s, cvm } = await keyServer();
    expect(await boot(s, cvm)).toEqual({ code: 10, said: 'NO_POLICY' });
    await s.setPolicy();
    expect(await boot(s, cvm, {}, 'init=/bin/sh')).toEqual({
      code: 10,
      said: 'POLICY_MEASUREMENT',
    });
    expect(await cvm.slots()).toBeUndefined();
  });
});
