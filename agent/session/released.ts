import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { keyCheckValue } from '#core/keying/derivation.js';
import {
  type KeyAcquireRequest,
  KeyAcquireRequestSchema,
  type KeyAcquireResponse,
  type KeyAllocRequest,
  KeyAllocRequestSchema,
  type KeyAllocResponse,
  KeyPurpose,
  type SessionGrant,
  AcquireReason as WireReason,
} from '#gen/cvmp/v1/key_pb.js';
import type {
  AcquiredKey,
  AcquireReason,
  AllocRequest,
  Grant,
  ReleasedKey,
} from './key-session.js';

const reasons: Readonly<Record<AcquireReason, WireReason>> = {
  boot: WireReason.BOOT,
  rekey: WireReason.REKEY,
  migrate: WireReason.MIGRATE,
};

const purposes: Readonly<Record<AllocRequest['purpose'], KeyPurpose>> = {
  disk: KeyPurpose.DISK,
  data: KeyPurpose.DATA,
};

export function allocRequest({ keyId, purpose }: AllocRequest): KeyAllocRequest {
  return create(KeyAllocRequestSchema, {
    purpose: purposes[purpose],
    ...(keyId === undefined ? {} : { keyId }),
  });
}

export function acquireRequest(
  keyId: Uint8Array,
  svn: number | undefined,
  reason: AcquireReason,
  epoch: number | undefined,
): KeyAcquireRequest {
  return create(KeyAcquireRequestSchema, {
    keyId,
    reason: reasons[reason],
    ...(svn === undefined ? {} : { svn }),
    ...(epoch === undefined ? {} : { epoch }),
  });
}

/** @throws CvmpError KCV_MISMATCH where it is not what was asked for */
export function allocatedKey(request: AllocRequest, response: KeyAllocResponse): ReleasedKey {
  const { keyId, epoch, svnFloor } = response;
  const asked = request.keyId === undefined || equalBytes(request.keyId, keyId);
  return { keyId, epoch, svnFloor, ...checkedKey(response, asked && keyId.length === 16) };
}

/** @throws CvmpError KCV_MISMATCH where it is not what was asked for */
export function acquiredKey(
  { keyId, svn, epoch: askedEpoch }: KeyAcquireRequest,
  response: KeyAcquireResponse,
): AcquiredKey {
  const { epoch, svnFloor, level, rekeyAdvised, rekeySvn } = response;
  // 0 stands for absence (proto/cvmp/v1/key.proto).
  const asked = (svn === 0 || svn === response.svn) && (askedEpoch === 0 || askedEpoch === epoch);
  const key = checkedKey(response, asked);
  return { keyId, epoch, svnFloor, level, rekeyAdvised, rekeySvn, ...key };
}

export function sessionGrant(grant: SessionGrant): Grant {
  const { level, signedPolicy, tenantKey, keyRotations, simulated, leaseExpires } = grant;
  if (leaseExpires === undefined) {
    throw new CvmpError('MALFORMED', 'the grant has no lease', { field: 'grant.lease_expires' });
  }
  const until = timestampMs(leaseExpires);
  return { level, signedPolicy, tenantKey, keyRotations, simulated, leaseExpires: until };
}

/** The key must be what its check value says before a disk is written with it. */
function checkedKey(
  response: KeyAllocResponse | KeyAcquireResponse,
  asAsked: boolean,
): Pick<ReleasedKey, 'key' | 'svn' | 'kcv'> {
  const { securityKey: key, svn, kcv, epoch } = response;
  const plausible = key.length >= 16 && key.length <= 64 && svn >= 1 && epoch >= 1;
  if (!asAsked || !plausible || !equalBytes(keyCheckValue(key), kcv)) {
    key.fill(0);
    throw new CvmpError('KCV_MISMATCH', 'the Key Server answered with another key than it says');
  }
  return { key, svn, kcv };
}
