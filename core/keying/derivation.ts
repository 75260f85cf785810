import { crypto } from '#crypto';
import { utf8 } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import type { HmacKey } from '../crypto.js';
import { hkdfExpand } from '../hkdf.js';
import type { KeyPurpose } from './policy.js';

/** What enters the derivation of a Security Key beside the root key. */
export interface DerivationContext {
  readonly tenantId: string;
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  readonly epoch: number;
  readonly purpose: KeyPurpose;
  /** At most 64 bytes. */
  readonly appContext: Uint8Array;
  /** Bytes of the Security Key, 16 to 64. */
  readonly length: number;
}

/** Numbers of KeyPurpose in proto/cvmp/v1/key.proto: they enter derivation and records. */
export const purposeNumbers: Record<KeyPurpose, number> = { disk: 1, data: 2 };

export const rootKeyLength = 32;
export const keyCheckValueLength = 8;

const kcvLabel = utf8('CVMP/1 kcv');

/**
 * SK_svn = HKDF-Expand(SHA-256, root key, det-CBOR ["CVMP/1 SK", tenant, KeyID, epoch, purpose,
 * app_context, svn, length], length) (protocol.md s.6.3). The caller zeroises the result.
 * @param rootKey 32 random bytes: uniform, so HKDF needs no Extract (RFC 5869 s.3.3)
 */
export function deriveSecurityKey(
  rootKey: Uint8Array | HmacKey,
  context: DerivationContext,
  svn: number,
): Uint8Array {
  return expandSecurityKey(rootKey, derivationInfo(context, svn), context.length);
}

/** What is expanded: {@link deriveSecurityKey} in two steps, for who keeps the first. */
export function derivationInfo(context: DerivationContext, svn: number): Uint8Array {
  return encode([
    'CVMP/1 SK',
    context.tenantId,
    context.keyId,
    context.epoch,
    purposeNumbers[context.purpose],
    context.appContext,
    svn,
    context.length,
  ]);
}

/** @param info of {@link derivationInfo} */
export function expandSecurityKey(
  rootKey: Uint8Array | HmacKey,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return hkdfExpand('sha256', rootKey, info, length);
}

/** HMAC-SHA256(SK, "CVMP/1 kcv"), first 8 bytes: tells a wrong key before a disk is written. */
export function keyCheckValue(securityKey: Uint8Array): Uint8Array {
  return crypto.hmac('sha256', securityKey, kcvLabel).slice(0, keyCheckValueLength);
}
