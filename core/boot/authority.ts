import { DerReader, readDer } from '../asn1/read.js';
import { explicitTag, tag } from '../asn1/tags.js';
import { oid } from '../asn1/values.js';
import { ByteReader, concat, equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { parseSignatureLists, signatureType } from '../eventlog/efi-variable.js';
import { authenticodeDigest, type PeImage } from '../firmware/pe.js';
import { guidBytes } from '../guid.js';
import { type Certificate, parseCertificate } from '../x509/certificate.js';
import { signedBy } from '../x509/chain.js';

const signedData = '1.2.840.113549.1.7.2';
/** WIN_CERT_TYPE_PKCS_SIGNED_DATA. */
const winCertPkcs = 2;
const winCertHeader = 8;
const signaturesMax = 16;
const certificatesMax = 64;

/**
 * The first entry of db that admits an image, as EDK II looks for it: a certificate that one of the
 * image's signatures leads to, or the digest of the image. It predicts what is measured; it does not
 * verify the image: an image that the firmware refuses is not measured at all.
 * @param db contents of the variable (EFI_SIGNATURE_LISTs)
 * @returns EFI_SIGNATURE_DATA: owner (16 bytes) and data; undefined where nothing admits it
 * @throws CvmpError MALFORMED, SIZE
 */
export async function findAuthority(
  image: PeImage,
  db: Uint8Array,
): Promise<Uint8Array | undefined> {
  const chain = signatureCertificates(image);
  const digest = authenticodeDigest(image, 'sha256');
  for (const { type, owner, data } of parseSignatureLists(db, 'db')) {
    const admits =
      type === signatureType.x509
        ? await leadsTo(chain, data)
        : type === signatureType.sha256 && equalBytes(data, digest);
    if (admits) return concat(guidBytes(owner), data);
  }
  return undefined;
}

/** True where the certificate is in the chain, or issued one that is. */
async function leadsTo(chain: readonly Uint8Array[], der: Uint8Array): Promise<boolean> {
  if (chain.some((one) => equalBytes(one, der))) return true;
  const issuer = readable(der);
  if (issuer === undefined) return false;
  for (const one of chain) {
    const signed = readable(one);
    if (signed === undefined || !equalBytes(signed.issuer.der, issuer.subject.der)) continue;
    if (await signedBy(signed, issuer)) return true;
  }
  return false;
}

/** Certificates with algorithms that CVMP does not know cannot be followed. */
function readable(der: Uint8Array): Certificate | undefined {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof CvmpError) return undefined;
    throw error;
  }
}

/** Certificates of all PKCS #7 signatures of an image, DER. @throws CvmpError MALFORMED, SIZE */
export function signatureCertificates({ certificates }: PeImage): readonly Uint8Array[] {
  const field = 'PE certificate table';
  const reader = new ByteReader(certificates, 'little');
  const found: Uint8Array[] = [];
  for (let entries = 0; reader.remaining > 0; entries++) {
    if (entries === signaturesMax) throw new CvmpError('SIZE', `${field}: too many`, { field });
    const length = reader.u32(field);
    reader.u16(field);
    const type = reader.u16(field);
    const body = reader.take(length - winCertHeader, field);
    reader.take(Math.min(-length & 7, reader.remaining), field);
    if (type === winCertPkcs) found.push(...pkcs7Certificates(body));
    if (found.length > certificatesMax) {
      throw new CvmpError('SIZE', `${field}: too many certificates`, { field });
    }
  }
  return found;
}

/** ContentInfo with SignedData (RFC 2315 s.9.1); padding may follow. */
function pkcs7Certificates(body: Uint8Array): readonly Uint8Array[] {
  const { encoded } = new DerReader(body, 'signature').any('');
  return readDer(encoded, 'signature', (outer) => {
    if (oid(outer.any('contentType')) !== signedData) return skip(outer);
    const content = outer.inside(explicitTag(0), 'content').sequence('signedData');
    content.any('version');
    content.any('digestAlgorithms');
    content.any('contentInfo');
    const list = content.optionalExplicit(0, 'certificates');
    const found: Uint8Array[] = [];
    while (list !== undefined && !list.done) {
      const element = list.any('certificate');
      if (element.tag === tag.sequence) found.push(element.encoded);
    }
    return found;
  });
}

function skip(reader: DerReader): readonly Uint8Array[] {
  while (!reader.done) reader.any('other');
  return [];
}
