import type { TrustedSigners } from '#core/corim/verify.js';
import { type EcPublicKey, ecPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { looksLikePem, parsePem } from '#core/x509/pem.js';
import { readPublicKeyInfo } from '#core/x509/public-key.js';
import type { CommandContext } from '../command.js';
import { readTypedBytes } from '../terminal/typed.js';

/** Keys and certificates of signers, PEM or DER. @throws CvmpError USAGE */
export async function readSigners(
  files: readonly string[],
  at: number,
  context: CommandContext,
): Promise<TrustedSigners> {
  const keys: EcPublicKey[] = [];
  const certificates: Uint8Array[] = [];
  for (const file of files) {
    const bytes = await readTypedBytes(context, file);
    const blocks = looksLikePem(bytes)
      ? parsePem(bytes, file)
      : [{ label: 'CERTIFICATE', der: bytes }];
    for (const { label, der } of blocks) {
      if (label === 'CERTIFICATE') {
        certificates.push(der);
        continue;
      }
      const key = label === 'PUBLIC KEY' ? readPublicKeyInfo(der, file) : undefined;
      if (key?.kind !== 'ec') {
        const why = `${file} has a ${label}; a signer is a PUBLIC KEY on P-256 or P-384, or a CERTIFICATE`;
        throw new CvmpError('USAGE', why);
      }
      keys.push(ecPublicKey(key.curve, key.point));
    }
  }
  return { keys, certificates, at };
}
