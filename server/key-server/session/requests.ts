import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type CvmpError, errorTable } from '#core/errors.js';
import {
  AcquireReason,
  type AgentMessage,
  type KeyAcquireResponse,
  type KeyAllocRequest,
  type KeyUpdateRequest,
  type ServerMessage,
  ServerMessageSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { purposeOf } from '#wire/key.js';
import type {
  AcquireRequest,
  AllocRequest,
  Keys,
  ReleasedKey,
  SessionGrant,
  Told,
  UpdateRequest,
} from '../release/contract.js';
import type { Attested } from '../verifier/attest.js';
import type { NoticeFields } from './told.js';

type Response = NonNullable<MessageInitShape<typeof ServerMessageSchema>['response']>;

/** An answer, and the Security Key inside it, to be overwritten once it is sealed. */
export interface Answer {
  readonly message: ServerMessage;
  /** Key that the request made; undefined where it named one itself, see {@link namedKey}. */
  readonly keyId?: Uint8Array;
  readonly securityKey: Uint8Array | undefined;
}

const securityKeyBytes = 32;
const nothing = new Uint8Array();

/**
 * Runs one request of an attested agent.
 * @throws CvmpError as {@link Keys}
 */
export async function answerRequest(
  keys: Keys,
  grant: SessionGrant,
  { requestId, request }: AgentMessage,
  told: Told,
): Promise<Answer> {
  switch (request.case) {
    case 'keyAlloc': {
      const released = await keys.allocate(grant, requestId, allocRequest(request.value), told);
      const { keyId, policyDigest } = released;
      const value = { ...releasedFields(released), keyId, policyDigest };
      return { ...answer(requestId, { case: 'keyAlloc', value }, released), keyId };
    }
    case 'keyAcquire': {
      const { keyId, svn, reason } = request.value;
      const epoch = given(request.value.epoch);
      const asked = { keyId, svn: given(svn), epoch, reason: reasons[reason] ?? 'boot' };
      const released = await keys.acquire(grant, requestId, asked, told);
      const { securityKey, kcv, level, rekeyAdvised, rekeySvn, svnFloor, svnRetired } = released;
      // By name and without the library's create: on this path they cost more than the encoding.
      const value: KeyAcquireResponse = {
        $typeName: 'cvmp.v1.KeyAcquireResponse',
        securityKey,
        svn: released.svn,
        svnFloor,
        svnRetired,
        level,
        rekeyAdvised,
        kcv,
        epoch: released.epoch,
        rekeySvn,
      };
      const message: ServerMessage = {
        $typeName: 'cvmp.v1.ServerMessage',
        requestId,
        response: { case: 'keyAcquire', value },
        checkpoint: nothing,
      };
      return { message, securityKey };
    }
    case 'keyUpdate': {
      const value = await keys.update(grant, requestId, updateRequest(request.value), told);
      return answer(requestId, { case: 'keyUpdate', value });
    }
    case 'keyConfirm': {
      const { epoch, ...rest } = request.value;
      const confirmed = { ...rest, epoch: given(epoch) };
      const svnFloor = await keys.confirm(grant, requestId, confirmed, told);
      return answer(requestId, { case: 'keyConfirm', value: { svnFloor } });
    }
    default:
      // The oneof is required, and was read strictly.
      throw new TypeError('a request without content');
  }
}

/** What signs for the log with the decision in it. */
export function checkpointOf({ receipt }: Told): Uint8Array {
  return receipt?.checkpoint.signed ?? nothing;
}

/** KeyID in the request; empty where it asks for a new key. */
export function namedKey({ request }: AgentMessage): Uint8Array {
  return request.value?.keyId ?? new Uint8Array();
}

/** Always the first sealed frame. */
export function grantMessage(
  { grant, keys, simulated }: Attested,
  inFlightMax: number,
): ServerMessage {
  return answer(new Uint8Array(), {
    case: 'grant',
    value: {
      level: grant.level,
      leaseExpires: timestampFromMs(grant.leaseExpires),
      signedPolicy: grant.policy.signed,
      inFlightMax,
      simulated,
      tenantKey: keys.first,
      keyRotations: [...keys.rotations],
    },
  }).message;
}

/** What nobody asked for; the request id is empty. */
export function noticeMessage(notice: NoticeFields): ServerMessage {
  return answer(new Uint8Array(), { case: 'notice', value: notice }).message;
}

/** A refused request; the session goes on. The agent is attested, so it is told why. */
export function errorMessage(requestId: Uint8Array, error: CvmpError | undefined): ServerMessage {
  const code = error?.code ?? 'INTERNAL';
  const message = error?.message ?? errorTable[code].meaning;
  const field = error?.field ?? '';
  return answer(requestId, { case: 'error', value: { code, message, field } }).message;
}

const reasons: Readonly<Record<AcquireReason, AcquireRequest['reason']>> = {
  [AcquireReason.UNSPECIFIED]: 'boot',
  [AcquireReason.BOOT]: 'boot',
  [AcquireReason.REKEY]: 'rekey',
  [AcquireReason.MIGRATE]: 'migrate',
};

function allocRequest(request: KeyAllocRequest): AllocRequest {
  return {
    keyId: request.keyId.length === 0 ? undefined : request.keyId,
    purpose: purposeOf(request.purpose),
    length: given(request.length) ?? securityKeyBytes,
    svn: given(request.svn),
    appContext: request.appContext,
  };
}

function updateRequest(request: KeyUpdateRequest): UpdateRequest {
  return {
    keyId: request.keyId,
    targetSvn: request.targetSvn,
    expectedFloor: given(request.expectedFloor),
    retireBelow: given(request.retireBelow),
    retireEpochsBelow: given(request.retireEpochsBelow),
  };
}

/** proto/ lets 0 stand for absence; no SVN and no length is 0. */
function given(value: number): number | undefined {
  return value === 0 ? undefined : value;
}

function releasedFields(released: ReleasedKey) {
  const { securityKey, svn, svnFloor, svnRetired, epoch, kcv } = released;
  return { securityKey, svn, svnFloor, svnRetired, epoch, kcv };
}

function answer(requestId: Uint8Array, response: Response, released?: ReleasedKey): Answer {
  const message = create(ServerMessageSchema, { requestId, response });
  return { message, securityKey: released?.securityKey };
}
