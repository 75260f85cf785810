import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import type { SignatureAlgorithm } from '#core/crypto.js';
import type { Signatures } from './kinds.js';

/** One signature check by node:crypto alone, off the event loop as core makes it. */
export type BareCheck = () => Promise<boolean>;

/** About as long as what hardware signs, bytes; its hash costs little. */
const signedLength = 0x2a0;

/** @param rsa4096 private key; such a key takes seconds to find */
export function bareChecks(
  rsa4096: KeyObject,
): Readonly<Partial<Record<SignatureAlgorithm, BareCheck>>> {
  const ec = (namedCurve: string) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    const p1363 = { dsaEncoding: 'ieee-p1363' } as const;
    return [
      { key: privateKey, ...p1363 },
      { key: publicKey, ...p1363 },
    ] as const;
  };
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 };
  return {
    ES256: check('sha256', ...ec('P-256')),
    ES384: check('sha384', ...ec('P-384')),
    RS256: check('sha256', { key: rsa.privateKey }, { key: rsa.publicKey }),
    PS384: check('sha384', { key: rsa4096, ...pss }, { key: createPublicKey(rsa4096), ...pss }),
  };
}

function check(
  hash: string,
  signer: Parameters<typeof sign>[2],
  verifier: Exclude<Parameters<typeof verify>[2], string>,
): BareCheck {
  const data = randomBytes(signedLength);
  const signature = sign(hash, data, signer);
  return () =>
    new Promise((resolve, reject) => {
      verify(hash, data, verifier, signature, (error, ok) =>
        error === null ? resolve(ok) : reject(error),
      );
    });
}

/** The checks of a kind of evidence, one after the other. */
export function allOf(
  signatures: Signatures,
  checks: ReturnType<typeof bareChecks>,
): () => Promise<void> {
  const each = Object.entries(signatures).flatMap(([algorithm, count]) =>
    Array.from({ length: count }, () => checks[algorithm as SignatureAlgorithm]),
  );
  return async () => {
    for (const one of each) {
      if (!(await one?.())) throw new Error('a sound signature was refused');
    }
  };
}
