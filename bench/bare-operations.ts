import {
  constants,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { type Effort, ownCpuMicroseconds } from './measure.js';

/** CPU of node:crypto's bare public-key operations on this machine now, microseconds. */
export interface BareOperations {
  readonly p384Verify: number;
  readonly rsaPss4096Verify: number;
  readonly p256Sign: number;
  readonly p256KeyPair: number;
  readonly p256Ecdh: number;
}

/** Length of what is signed in an SNP report, bytes. */
const signedLength = 0x2a0;

/** @param rsaKey private key of 4096 bits; such a key takes seconds to find */
export function measureBare(rsaKey: KeyObject, { seconds }: Effort): BareOperations {
  const data = randomBytes(signedLength);
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rsaPublic = createPublicKey(rsaKey);
  const p1363 = (key: KeyObject) => ({ key, dsaEncoding: 'ieee-p1363' as const });
  const pss = (key: KeyObject) => ({
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: 48,
  });
  const p384Signature = sign('sha384', data, p1363(p384.privateKey));
  const rsaSignature = sign('sha384', data, pss(rsaKey));
  const cost = (work: () => unknown) => cpuOf(seconds, work);
  return {
    p384Verify: cost(() => verify('sha384', data, p1363(p384.publicKey), p384Signature)),
    rsaPss4096Verify: cost(() => verify('sha384', data, pss(rsaPublic), rsaSignature)),
    p256Sign: cost(() => sign('sha256', data, p1363(p256.privateKey))),
    p256KeyPair: cost(() => generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    p256Ecdh: cost(() =>
      diffieHellman({ privateKey: p256.privateKey, publicKey: other.publicKey }),
    ),
  };
}

function cpuOf(seconds: number, work: () => unknown): number {
  work();
  const until = performance.now() + seconds * 1000;
  const cpu = ownCpuMicroseconds();
  let count = 0;
  do {
    work();
    count += 1;
  } while (performance.now() < until);
  return (ownCpuMicroseconds() - cpu) / count;
}
