import type { CborKey, CborValue } from '#core/cbor/value.js';
import { label } from '#core/cose/headers.js';
import { thumbprint } from '#core/cose/key.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';

/** `typ` of a policy that its tenant signed: a token, signed by the same key, is none. */
export const policyType = 'application/cvmp-policy+protobuf';

/** `typ` of a signed PolicyResponse: nothing else that the Key Server signs can stand in for one. */
export const policyResponseType = 'application/cvmp-policy-response+protobuf';

/**
 * Signs a serialised SetKeyPolicy (by the tenant) or PolicyResponse (by the Key Server): COSE_Sign1
 * with `typ`, and `kid` = thumbprint of the signer.
 */
export function signTyped(
  key: EcPrivateKey,
  typ: typeof policyType | typeof policyResponseType,
  payload: Uint8Array,
): Promise<Uint8Array> {
  const headers: [CborKey, CborValue][] = [
    [label.kid, thumbprint({ curve: key.curve, point: key.publicPoint })],
    [label.typ, typ],
  ];
  return sign1(key, payload, { protected: new Map(headers) });
}
