import type { KeyPurpose } from '#core/keying/policy.js';
import { KeyPurpose as KeyPurposeNumber } from '#gen/cvmp/v1/key_pb.js';

/** Unspecified stands for disk. */
export function purposeOf(purpose: KeyPurposeNumber): KeyPurpose {
  return purpose === KeyPurposeNumber.DATA ? 'data' : 'disk';
}
