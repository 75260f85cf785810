import { ByteReader, equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { sized } from '#core/tpm/attest.js';
import { algorithm, curves, hashAlgorithms } from '#core/tpm/layout.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import { firstCertificate } from './certificates.js';
import type { AttestationKey } from './keys.js';
import type { Tpm } from './tpm.js';

/** NV indices of the AKs that Google makes with each instance: certificate and template. */
export const googleAks: readonly { readonly certificate: number; readonly template: number }[] = [
  { certificate: 0x01c10000, template: 0x01c10001 },
  { certificate: 0x01c10002, template: 0x01c10003 },
];

export interface CertifiedKey extends AttestationKey {
  /** DER. */
  readonly certificate: Uint8Array;
}

/**
 * The AK that Google certified: the primary key of the endorsement hierarchy that the template in
 * NV makes.
 * @throws CvmpError TPM_UNAVAILABLE, also where no key made so is the certified one
 */
export async function openGoogleAk(
  tpm: Tpm,
  nvIndices: ReadonlySet<number>,
): Promise<CertifiedKey> {
  for (const { certificate: index, template } of googleAks) {
    if (!nvIndices.has(index) || !nvIndices.has(template)) continue;
    const certified = firstCertificate(await tpm.nvRead(index));
    if (certified === undefined) continue;
    const args = await templateArguments(tpm, await tpm.nvRead(template));
    const object = await tpm.createPrimary('ak', ['-C', 'e', ...args]);
    const publicArea = await tpm.readPublic(object);
    await tpm.tools.flush();
    if (equalBytes(parsePublicArea(publicArea).spki, certified.spki)) {
      return { object, publicArea, certificate: certified.der };
    }
  }
  throw new CvmpError('TPM_UNAVAILABLE', 'no template in NV makes a key that has a certificate', {
    field: 'tpm.platform',
  });
}

const field = 'ak_template';

const schemeNames: Readonly<Record<number, string>> = {
  [algorithm.rsassa]: 'rsassa',
  [algorithm.rsapss]: 'rsapss',
  [algorithm.ecdsa]: 'ecdsa',
};

/**
 * A TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4) in the words of tpm2_createprimary.
 * @throws CvmpError MALFORMED, UNSUPPORTED_ALGORITHM
 */
async function templateArguments(tpm: Tpm, template: Uint8Array): Promise<readonly string[]> {
  const reader = new ByteReader(template, 'big');
  const type = reader.u16(field);
  const nameHash = hashAlgorithms[reader.u16(field)];
  const attributes = reader.u32(field);
  const policy = sized(reader, field);
  const symmetric = reader.u16(field);
  const scheme = schemeNames[reader.u16(field)];
  const hash = scheme === undefined ? undefined : hashAlgorithms[reader.u16(field)];
  if (symmetric !== algorithm.null || hash === undefined || nameHash === undefined) {
    throw unsupported('a key that is not for signing');
  }
  const key = readKeyName(reader, type);
  const args = ['-G', `${key}:${scheme}-${hash}:null`, '-g', nameHash, '-a', hex(attributes)];
  if (policy.length > 0) args.push('-L', await tpm.tools.write('ak-policy', policy));
  return args;
}

function readKeyName(reader: ByteReader, type: number): string {
  if (type === algorithm.rsa) {
    const bits = reader.u16(field);
    const exponent = reader.u32(field);
    if (sized(reader, field).length > 0 || exponent !== 0) throw unsupported('a chosen number');
    return `rsa${bits}`;
  }
  const curve = type === algorithm.ecc ? curves[reader.u16(field)] : undefined;
  const kdf = curve === undefined ? undefined : reader.u16(field);
  if (curve === undefined || kdf !== algorithm.null) throw unsupported('another kind of key');
  const point = [sized(reader, field), sized(reader, field)];
  if (point.some(({ length }) => length > 0)) throw unsupported('a chosen number');
  return `ecc${curve.slice(2)}`;
}

const hex = (value: number) => `0x${(value >>> 0).toString(16)}`;

function unsupported(what: string): CvmpError {
  return new CvmpError('UNSUPPORTED_ALGORITHM', `the template of the AK is of ${what}`, { field });
}
