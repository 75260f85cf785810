import { toBase64Url } from '#core/bytes.js';
import { type CwtClaims, mintCwt } from '#core/cose/cwt.js';
import { type EcPublicKey, ecPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { allVerbs } from '#server/host/callers/verbs.js';
import type { Caller } from '#server/host/handlers.js';

/** A tenant by its own key, and an operator, as the authentication gives them. */
export const tenantCaller = (tenantId: string): Caller => ({
  role: 'tenant',
  tenantId,
  verbs: allVerbs('tenant'),
  actor: 'key',
});
export const operatorCaller: Caller = {
  role: 'operator',
  verbs: allVerbs('operator'),
  actor: 'key',
};

/** Somebody with a signing key who mints bearer tokens. */
export interface Signer {
  readonly name: string;
  readonly key: EcPrivateKey;
  readonly publicKey: EcPublicKey;
}

export async function makeSigner(
  name: string,
  curve: 'P-256' | 'P-384' = 'P-256',
): Promise<Signer> {
  const key = await crypto.generateEcKey(curve);
  return { name, key, publicKey: ecPublicKey(curve, key.publicPoint) };
}

/** The `authorization` header of a good token, unless `wrong` says otherwise. */
export async function bearer(
  signer: Signer,
  audience: string,
  nowMs: number,
  wrong: Partial<CwtClaims> = {},
): Promise<string> {
  const now = Math.floor(nowMs / 1000);
  const token = await mintCwt(signer.key, {
    iss: signer.name,
    sub: signer.name,
    aud: audience,
    iat: now,
    exp: now + 600,
    cti: crypto.randomBytes(16),
    scope: [signer.name === 'operator' ? 'operator' : 'tenant'],
    ...wrong,
  });
  return `Bearer ${toBase64Url(token)}`;
}
