import { oneElement } from '../../asn1/read.js';
import { tag } from '../../asn1/tags.js';
import { ia5String, unsignedInteger } from '../../asn1/values.js';
import { CvmpError } from '../../errors.js';
import type { Certificate } from '../../x509/certificate.js';
import type { SnpTcb } from '../product.js';

/** Extensions of VCEK and VLEK certificates (AMD VCEK specification, table 8). */
const arc = '1.3.6.1.4.1.3704.1';
export const endorsementOid = {
  structVersion: `${arc}.1`,
  productName: `${arc}.2`,
  blSpl: `${arc}.3.1`,
  teeSpl: `${arc}.3.2`,
  snpSpl: `${arc}.3.3`,
  spl4: `${arc}.3.4`,
  spl5: `${arc}.3.5`,
  spl6: `${arc}.3.6`,
  spl7: `${arc}.3.7`,
  ucodeSpl: `${arc}.3.8`,
  fmcSpl: `${arc}.3.9`,
  hwId: `${arc}.4`,
  cspId: `${arc}.5`,
} as const;

type EndorsementExtension = keyof typeof endorsementOid;

/** What a VCEK or VLEK certificate says about the key's platform. */
export interface EndorsementKeyInfo {
  readonly kind: 'VCEK' | 'VLEK';
  readonly structVersion: number;
  /** As written: `Milan-B0`, `Genoa`. */
  readonly productName: string;
  /** Security patch levels that the key was derived for. */
  readonly tcb: SnpTcb;
  /** Whether fmcSPL is there at all. */
  readonly hasFmc: boolean;
  /** VCEK: id of the chip, 64 bytes, or 8 from Turin on. */
  readonly hwId: Uint8Array | undefined;
  /** VLEK: cloud provider that it was given to. */
  readonly cspId: string | undefined;
}

/** SPLs that are reserved: they stand for the reserved bytes of TCB_VERSION. */
const reservedSpls: readonly EndorsementExtension[] = ['spl4', 'spl5', 'spl6', 'spl7'];

/**
 * Reads the extensions that bind an endorsement key to its platform. What is absent is refused, never
 * skipped, and each value must have exactly its encoding.
 * @throws CvmpError CERT_EXTENSION_MISSING, MALFORMED, NOT_CANONICAL, SIZE
 */
export function readEndorsementKeyInfo(certificate: Certificate): EndorsementKeyInfo {
  const value = (name: EndorsementExtension) =>
    certificate.extensions.get(endorsementOid[name])?.value;
  const required = (name: EndorsementExtension) => value(name) ?? missing(name);
  // INTEGER, one byte of value: 02 01 xx, or 02 02 00 xx from 0x80 on.
  const spl = (bytes: Uint8Array, name: string) => unsignedInteger(oneElement(bytes, name), 255);

  const hwIdValue = value('hwId');
  const cspIdValue = value('cspId');
  const structVersion = spl(required('structVersion'), 'structVersion');
  const productName = ia5String(oneElement(required('productName'), 'productName'));
  for (const name of reservedSpls) {
    const bytes = value(name);
    if (bytes !== undefined && spl(bytes, name) !== 0) throw malformed(`${name} is not zero`, name);
  }
  if ((hwIdValue === undefined) === (cspIdValue === undefined)) {
    if (hwIdValue === undefined) missing('hwId');
    throw malformed('hwId and cspId are exclusive', 'hwId');
  }
  const fmc = value('fmcSpl');
  return {
    kind: hwIdValue === undefined ? 'VLEK' : 'VCEK',
    structVersion,
    productName,
    hasFmc: fmc !== undefined,
    tcb: {
      fmc: fmc === undefined ? 0 : spl(fmc, 'fmcSpl'),
      bootloader: spl(required('blSpl'), 'blSpl'),
      tee: spl(required('teeSpl'), 'teeSpl'),
      snp: spl(required('snpSpl'), 'snpSpl'),
      microcode: spl(required('ucodeSpl'), 'ucodeSpl'),
    },
    hwId: hwIdValue === undefined ? undefined : hwId(hwIdValue),
    cspId: cspIdValue === undefined ? undefined : ia5String(oneElement(cspIdValue, 'cspId')),
  };
}

/** Lengths of hwID: 64 before Turin, 8 from then on. */
const hwIdLengths: readonly number[] = [64, 8];

/**
 * hwID is raw bytes, whatever they look like: 04 3E ... in 64 bytes is an id, not an OCTET STRING.
 * Some early certificates do wrap it; the two more bytes tell, so that nothing is ambiguous.
 */
function hwId(value: Uint8Array): Uint8Array {
  if (hwIdLengths.includes(value.length)) return value;
  const inner = value.subarray(2);
  const isWrapped =
    hwIdLengths.includes(inner.length) && value[0] === tag.octetString && value[1] === inner.length;
  if (isWrapped) return inner;
  throw malformed(`hwId has ${value.length} bytes, not 64 or 8`, 'hwId');
}

function missing(name: EndorsementExtension): never {
  throw new CvmpError(
    'CERT_EXTENSION_MISSING',
    `the endorsement key certificate has no ${name} (${endorsementOid[name]})`,
    { field: name },
  );
}

function malformed(message: string, field: string): CvmpError {
  return new CvmpError('MALFORMED', `${message} in the endorsement key certificate`, { field });
}
