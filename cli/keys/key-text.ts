import { timestampMs } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import {
  type KeyEpoch,
  type KeyInfo,
  KeyInfoSchema,
  KeyState,
  KeyStateSchema,
} from '#gen/cvmp/v1/key_admin_pb.js';
import { KeyPurposeSchema } from '#gen/cvmp/v1/key_pb.js';
import { timeText } from '../cvm/cvm-text.js';
import { fields, type Output } from '../terminal/output.js';
import { enumName, toReadable } from '../terminal/readable.js';

/** `active`, with what a reader must know beside it. */
export function stateText(key: KeyInfo): string {
  const state = enumName(KeyStateSchema, key.state);
  return isCompromised(key) ? `${state}, compromised` : state;
}

/** Whether its newest root key is marked. */
export function isCompromised({ epochs }: KeyInfo): boolean {
  return epochs.at(-1)?.compromised === true;
}

/** Everything that is known of a key. */
export function keyFields(key: KeyInfo): string {
  const due = key.state === KeyState.DESTROY_PENDING ? 'destroyed then' : 'was due';
  return fields([
    ['KeyID', toHex(key.keyId)],
    ['state', `${stateText(key)} since ${timeText(key.stateSince)}`],
    ...(key.destroyDue === undefined ? [] : [[due, timeText(key.destroyDue)] as const]),
    ['revision', String(key.revision)],
    ['SVN floor', String(key.svnFloor)],
    ['retired below', String(key.svnRetired)],
    ...instanceFields(key),
    ...key.epochs.map((epoch) => [`epoch ${epoch.epoch}`, epochText(epoch)] as const),
    ['purpose', `${enumName(KeyPurposeSchema, key.purpose)}, ${key.length} bytes`],
    ['policy', key.policyId],
    ['allocated', `${timeText(key.created)} by ${key.cvmName}`],
    ['last released', isNever(key.released) ? 'never' : timeText(key.released)],
  ]);
}

/** Where one instance at a time may have the key. */
function instanceFields({ instanceId, leaseExpires }: KeyInfo): readonly [string, string][] {
  if (instanceId.length === 0) return [];
  const until =
    leaseExpires === undefined ? 'taken over from it' : `until ${timeText(leaseExpires)}`;
  return [['instance', `${toHex(instanceId)} ${until}`]];
}

function epochText({ created, confirmed, compromised }: KeyEpoch): string {
  const use = confirmed === undefined ? 'not confirmed' : `confirmed ${timeText(confirmed)}`;
  return `made ${timeText(created)}, ${use}${compromised ? ', compromised' : ''}`;
}

function isNever(time: KeyInfo['released']): boolean {
  return time === undefined || timestampMs(time) === 0;
}

/** A key as the server answered with it. */
export function keyOutput(key: KeyInfo | undefined, text: (key: KeyInfo) => string): Output {
  return {
    json: { key: key === undefined ? null : toReadable(KeyInfoSchema, key) },
    text: key === undefined ? '' : text(key),
  };
}
