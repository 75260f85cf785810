import type { AcquiredKey, Grant, KeySession } from '#agent/session/key-session.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import type {
  KeyServerState,
  ReleasedKey,
  SessionGrant,
} from '#server/key-server/release/contract.js';

/** A session's requests, given to a real Key Server's decisions without a network between. */
export function realSession(
  state: Pick<KeyServerState, 'keys'>,
  grant: SessionGrant,
  tenantKey: EcPrivateKey,
): KeySession {
  const { keys } = state;
  const id = () => crypto.randomBytes(16);
  const granted = grantFor(grant, tenantKey);
  return {
    grant: granted,
    ended: new Promise(() => {}),
    reattest: async () => granted,
    async alloc({ requestId, keyId, purpose }) {
      const asked = { keyId, purpose, length: 32, svn: undefined, appContext: new Uint8Array() };
      return agentKey(await keys.allocate(grant, requestId, asked));
    },
    async acquire(keyId, svn, reason, epoch) {
      return agentKey(await keys.acquire(grant, id(), { keyId, svn, epoch, reason }));
    },
    async update(keyId, targetSvn, retire) {
      await keys.update(grant, id(), {
        keyId,
        targetSvn,
        expectedFloor: undefined,
        retireBelow: retire?.svn,
        retireEpochsBelow: retire?.epoch,
      });
    },
    async confirm({ keyId, svn, epoch, kcv }) {
      await keys.confirm(grant, id(), { keyId, svn, epoch, kcv });
    },
    onNotice: () => {},
    close: () => {},
  };
}

function grantFor({ level, policy }: SessionGrant, tenantKey: EcPrivateKey): Grant {
  return {
    level,
    leaseExpires: Number.MAX_SAFE_INTEGER,
    signedPolicy: policy.signed,
    tenantKey: encodeCoseKey(ecPublicKey(tenantKey.curve, tenantKey.publicPoint)),
    keyRotations: [],
    simulated: true,
  };
}

function agentKey({ securityKey, ...key }: ReleasedKey): AcquiredKey {
  return { ...key, key: securityKey };
}
