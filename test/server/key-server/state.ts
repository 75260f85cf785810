import { join } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import type {
  AllocRequest,
  KeyServerState,
  SessionGrant,
  StoredPolicy,
} from '#server/key-server/release/contract.js';
import { initState, openState, stateOver, vaultFolderOf } from '#server/key-server/release/open.js';
import { openLevelStore } from '#server/key-server/store/level.js';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import { openVault } from '#server/key-server/store/vault/file-vault.js';
import type { QuotaSettings } from '#server/key-server/tenants/quotas.js';
import { policyType, signTyped } from '#wire/signed-policy.js';
import { WatchedStore } from '../../fakes/watched-store.js';
import { temporaryFolder } from '../../run-folder.js';

/** Where the files of a Key Server under test are, and its clock. */
export interface Place {
  readonly folder: string;
  readonly masterKey: string;
  now: number;
  /** Told of every random value of 32 bytes: KEKs and root keys. */
  onSecret?: (secret: Uint8Array) => void;
  /** Told of every read of the store. */
  onRead?: (what: string) => void;
  quotas?: QuotaSettings;
}

/** A fresh store; 2026-11-22. */
export async function newPlace(
  name: string,
  onSecret: (secret: Uint8Array) => void = () => undefined,
): Promise<Place> {
  const folder = temporaryFolder(name);
  const place = {
    folder: join(folder, 'store'),
    masterKey: join(folder, 'master.key'),
    now: 1_795_300_000_000,
    onSecret,
  };
  createMasterKeyFile(place.masterKey, crypto.randomBytes);
  await initState(place.folder, optionsOf(place));
  return place;
}

export function optionsOf(place: Place) {
  const masterKey = readMasterKeyFile(place.masterKey);
  const randomBytes = (length: number) => {
    const bytes = crypto.randomBytes(length);
    if (length === 32) place.onSecret?.(bytes);
    return bytes;
  };
  return { masterKey, now: () => place.now, randomBytes, quotas: place.quotas };
}

export async function openPlace(place: Place): Promise<KeyServerState> {
  const { onRead } = place;
  if (onRead === undefined) return openState(place.folder, optionsOf(place));
  const store = new WatchedStore(await openLevelStore(place.folder), onRead);
  return stateOver(store, await openVault(vaultFolderOf(place.folder)), optionsOf(place));
}

export type PolicyChanges = Omit<MessageInitShape<typeof SetKeyPolicySchema>, '$typeName'>;

/** Levels by SNP firmware component: `levels(3)` has levels 1 to 3. */
export function levels(count: number): NonNullable<PolicyChanges['levels']> {
  return Array.from({ length: count }, (_, i) => ({
    n: i + 1,
    snp: { tcbMin: [{ product: 'Genoa', tcb: { snp: i + 1 } }] },
  }));
}

/** Version 1 of policy "web" of acme: four levels, floor 1. */
export function policyMessage(changes: PolicyChanges = {}) {
  return create(SetKeyPolicySchema, {
    tenantId: 'acme',
    policyId: 'web',
    version: 1n,
    cvmNames: ['web-*'],
    appraisal: {
      allowSimulated: true,
      snp: { measurements: [{ digest: new Uint8Array(48).fill(1), imageSvn: 1, name: 'image' }] },
    },
    levels: levels(4),
    svnFloor: 1,
    ...changes,
  });
}

export async function signedPolicy(
  key: EcPrivateKey,
  changes: PolicyChanges = {},
): Promise<Uint8Array> {
  return signTyped(key, policyType, toBinary(SetKeyPolicySchema, policyMessage(changes)));
}

let tenantKey: EcPrivateKey | undefined;

/** One signing key for all tenants of a test file. */
export async function signingKey(): Promise<EcPrivateKey> {
  tenantKey ??= await crypto.generateEcKey('P-256');
  return tenantKey;
}

export const call = { requestId: 'test' };

/** Registers a tenant and gives it policy "web". */
export async function withTenant(
  state: KeyServerState,
  tenantId = 'acme',
  changes: PolicyChanges = {},
): Promise<StoredPolicy> {
  const key = await signingKey();
  const publicKey = ecPublicKey(key.curve, key.publicPoint);
  await state.tenants.register(tenantId, encodeCoseKey(publicKey), call);
  const signed = await signedPolicy(key, { tenantId, ...changes });
  return state.policies.set(tenantId, signed, call);
}

/** The next version of policy "web". */
export async function nextPolicy(
  state: KeyServerState,
  changes: PolicyChanges = {},
  tenantId = 'acme',
): Promise<StoredPolicy> {
  const current = await state.policies.get(tenantId, 'web', 0);
  const signed = await signedPolicy(await signingKey(), {
    tenantId,
    svnFloor: current.policy.svnFloor,
    version: BigInt(current.policy.version) + 1n,
    prevDigest: current.digest,
    ...changes,
  });
  return state.policies.set(tenantId, signed, call);
}

/** A session whose claims prove `level` under every policy that has so many levels. */
export function grantOf(
  policy: StoredPolicy,
  level: number,
  changes: Partial<SessionGrant> = {},
): SessionGrant {
  return {
    tenantId: policy.policy.tenantId,
    cvmName: 'web-1',
    policy,
    level,
    instanceId: undefined,
    chipId: undefined,
    sessionId: new Uint8Array(16).fill(level),
    evidenceFormat: 'snp',
    evidenceDigest: new Uint8Array(32).fill(level),
    leaseExpires: Number.MAX_SAFE_INTEGER,
    appraise: ({ policy: { levels: all } }) => ({
      level: Math.min(level, all.length),
      failures: [],
    }),
    ...changes,
  };
}

export const newKey: AllocRequest = {
  keyId: undefined,
  purpose: 'disk',
  length: 32,
  svn: undefined,
  appContext: new Uint8Array(),
};

export const requestId = () => crypto.randomBytes(16);
