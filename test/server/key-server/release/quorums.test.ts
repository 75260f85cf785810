import { toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { signTogether } from '#core/cose/quorum.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { policyType } from '#wire/signed-policy.js';
import { refusalOf } from '../../../refusal.js';
import {
  call,
  newPlace,
  openPlace,
  type PolicyChanges,
  policyMessage,
  signingKey,
  withTenant,
} from '../state.js';

let state: KeyServerState;
let bob: EcPrivateKey;
let carol: EcPrivateKey;
beforeEach(async () => {
  state = await openPlace(await newPlace('quorums'));
  [bob, carol] = await Promise.all([crypto.generateEcKey('P-256'), crypto.generateEcKey('P-256')]);
});

afterEach(() => state.close());

const coseKey = (key: EcPrivateKey) => encodeCoseKey(ecPublicKey(key.curve, key.publicPoint));

async function twoOf(...keys: EcPrivateKey[]) {
  return { setPolicy: { signers: keys.map(coseKey), threshold: 2 } };
}

async function set(changes: PolicyChanges, signers: readonly EcPrivateKey[]) {
  const payload = toBinary(SetKeyPolicySchema, policyMessage(changes));
  return state.policies.set('acme', await signTogether(signers, policyType, payload), call);
}

/** Version 1 of "web", to be changed by two of tenant, Bob and Carol. */
async function guarded() {
  const tenant = await signingKey();
  await withTenant(state, 'acme', { policyId: 'other', cvmNames: ['other-*'] });
  const quorums = await twoOf(tenant, bob, carol);
  const first = await set({ quorums }, [tenant, bob]);
  return { tenant, quorums, next: { version: 2n, prevDigest: first.digest } };
}

describe('quorums of a policy (protocol.md s.6.5; issue 4)', () => {
  it('a version 1 that names a quorum must meet it: nobody locks himself out', async () => {
    const tenant = await signingKey();
    await withTenant(state, 'acme', { policyId: 'other', cvmNames: ['other-*'] });
    const quorums = await twoOf(tenant, bob, carol);
    expect(await refusalOf(set({ quorums }, [tenant]))).toBe('QUORUM');
    expect(await refusalOf(set({ quorums }, [tenant, carol]))).toBe('accepted');
  });

  it('the next version needs the quorum of the one before', async () => {
    const { tenant, quorums, next } = await guarded();
    expect(await refusalOf(set({ ...next, quorums }, [tenant]))).toBe('QUORUM');
    expect(await refusalOf(set({ ...next, quorums }, [tenant, carol]))).toBe('accepted');
  });

  it('to drop or change the quorum needs the old quorum, to name a new one the new too', async () => {
    const { tenant, next } = await guarded();
    const dave = await crypto.generateEcKey('P-256');
    expect(await refusalOf(set(next, [tenant]))).toBe('QUORUM');
    const changed = { ...next, quorums: await twoOf(carol, dave) };
    expect(await refusalOf(set(changed, [tenant, dave, carol]))).toBe('accepted');
    expect(await refusalOf(set({ ...next, version: 2n }, [tenant, bob]))).not.toBe('accepted');
  });

  it('the tenant key signs in any case, since CVMs hold its thumbprint', async () => {
    const { quorums, next } = await guarded();
    expect(await refusalOf(set({ ...next, quorums }, [bob, carol]))).toBe('SIGNATURE_INVALID');
  });

  it('another policy takes a CVM name from a guarded one only by its quorum', async () => {
    const { tenant } = await guarded();
    const narrow = { policyId: 'narrow', cvmNames: ['web-1'] };
    expect(await refusalOf(set(narrow, [tenant]))).toBe('QUORUM');
    expect(await refusalOf(set(narrow, [tenant, bob]))).toBe('accepted');
  });

  it.each<[string, object, string]>([
    ['more are needed than are named', { threshold: 3 }, 'POLICY_INVALID'],
    ['nobody is needed', { threshold: 0 }, 'INVALID_FIELD'],
    ['nobody is named', { signers: [] }, 'INVALID_FIELD'],
    ['a signer is no key', { signers: [new Uint8Array(5)] }, 'INVALID_FIELD'],
  ])('a quorum is refused where %s', async (_, wrong, code) => {
    const tenant = await signingKey();
    await withTenant(state, 'acme', { policyId: 'other', cvmNames: ['other-*'] });
    const setPolicy = { signers: [coseKey(tenant), coseKey(bob)], threshold: 2, ...wrong };
    expect(await refusalOf(set({ quorums: { setPolicy } }, [tenant, bob]))).toBe(code);
  });

  it('who must sign for destroying keys must sign what makes that easier', async () => {
    const tenant = await signingKey();
    await withTenant(state, 'acme', { policyId: 'other', cvmNames: ['other-*'] });
    const destroyKey = { signers: [coseKey(bob), coseKey(carol)], threshold: 2 };
    const kept = { quorums: { destroyKey }, destroyDelaySeconds: 3600 };
    const first = await set(kept, [tenant]);
    const next = { version: 2n, prevDigest: first.digest };
    const easier = [
      { ...kept, quorums: {} },
      { ...kept, quorums: { destroyKey: { ...destroyKey, threshold: 1 } } },
      {
        ...kept,
        quorums: { destroyKey: { ...destroyKey, signers: [coseKey(bob), coseKey(tenant)] } },
      },
      { ...kept, destroyDelaySeconds: 60 },
    ];
    for (const change of easier) {
      expect(await refusalOf(set({ ...next, ...change }, [tenant, bob]))).toBe('QUORUM');
    }
    const slower = { ...next, ...kept, destroyDelaySeconds: 7200 };
    const second = await set(slower, [tenant]);
    const third = { version: 3n, prevDigest: second.digest };
    const changed = { ...third, ...kept, destroyDelaySeconds: 60 };
    expect(await refusalOf(set(changed, [tenant, bob, carol]))).toBe('accepted');
  });
});
