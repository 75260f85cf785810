// How a Key Server with many keys opens: `node dist/bench/scale/main.js FOLDER KEYS`. The folder is
// made, and used again where it is there.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { crypto } from '#crypto';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { initState, openState, type StateOptions } from '#server/key-server/release/open.js';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { policyType, signTyped } from '#wire/signed-policy.js';
import { fillStore } from './fill.js';

const [folder = 'scale', count = '1000000'] = process.argv.slice(2);
const store = join(folder, 'store');
const call = { requestId: 'scale' };
const owner = { tenantId: 'bench', policyId: 'bench' } as const;

const options = (): StateOptions => ({
  masterKey: readMasterKeyFile(join(folder, 'master.key')),
  now: Date.now,
  randomBytes: crypto.randomBytes,
});

async function make(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  createMasterKeyFile(join(folder, 'master.key'), crypto.randomBytes);
  await initState(store, options());
  const state = await openState(store, options());
  const key = await crypto.generateEcKey('P-256');
  const publicKey = ecPublicKey(key.curve, key.publicPoint);
  await state.tenants.register(owner.tenantId, encodeCoseKey(publicKey), call);
  const policy = create(SetKeyPolicySchema, {
    ...owner,
    version: 1n,
    cvmNames: ['bench-*'],
    appraisal: { allowSimulated: true },
    levels: [{ n: 1, snp: { tcbMin: [{ product: 'Genoa', tcb: { snp: 1 } }] } }],
    svnFloor: 1,
    keyRules: { keysMax: 100_000 },
  });
  const signed = await signTyped(key, policyType, toBinary(SetKeyPolicySchema, policy));
  await state.policies.set(owner.tenantId, signed, call);
  await state.close();
  const progress = (keys: number) => {
    if (keys % 100_000 === 0) process.stderr.write(`${keys} keys\n`);
  };
  const where = { folder: store, options: options(), cvmName: 'bench-1', progress };
  await fillStore({ ...owner, ...where, count: Number(count) });
}

const memory = (field: string) =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) /
  1024;

if (!existsSync(store)) await make();
else {
  const begin = performance.now();
  const state = await openState(store, options());
  const opened = performance.now() - begin;
  const resident = memory('VmRSS');
  await state.keys.list(owner.tenantId, { pageSize: 100, pageToken: '' });
  process.stdout.write(
    `open: ${opened.toFixed(0)} ms, resident: ${resident.toFixed(0)} MiB, ` +
      `of files: ${memory('RssFile').toFixed(0)} MiB\n`,
  );
  await state.close();
}
