import { encodePlatformKey, platformKeyType } from '#core/cca/endorsement.js';
import { readPlatformKeyFile } from '#core/cca/platform-key-file.js';
import {
  type EndorsementDocument,
  type Endorsements,
  joinEndorsements,
  noEndorsements,
} from '#core/rats/endorsements.js';
import { qeIdentityType, tcbInfoType } from '#core/tdx/endorsement/collateral.js';
import { parseSignedJson } from '#core/tdx/endorsement/signed-json.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { parseCertificateList } from '#core/x509/crl.js';
import type { Name } from '#core/x509/name.js';
import { looksLikePem } from '#core/x509/pem.js';
import { blocks, type NamedFile, wellFormed } from './named-file.js';

/** What the configuration holds for evidence of a format. */
export type HeldEndorsements = (format: string) => Endorsements;

/** Nothing, whatever the format. */
export const nothingHeld: HeldEndorsements = () => noEndorsements;

/** Formats whose endorsements each kind of evidence is verified by. */
const vendorsOf: Readonly<Record<string, readonly string[]>> = {
  'azure-snp': ['snp'],
  'azure-tdx': ['tdx'],
  svsm: ['snp'],
};

/**
 * Statements of vendors that the Verifier holds itself, for agents whose host gives none along:
 * PEM with any number of CERTIFICATE and X509 CRL blocks, DER, and JSON: TCB Info and QE Identity as
 * Intel's service answers them, keys of Arm CCA platforms (docs/operating.md).
 *
 * They are kept by vendor: evidence is verified with what can be of use to it, and no certificate of
 * one vendor is ever taken for a link in the chain of another.
 * @throws CvmpError CONFIG
 */
export function heldEndorsements(files: readonly NamedFile[]): HeldEndorsements {
  const byFormat = new Map<string, Endorsements>();
  for (const file of files) {
    for (const [format, one] of statements(file)) {
      byFormat.set(format, joinEndorsements(byFormat.get(format) ?? noEndorsements, one));
    }
  }
  return (format) =>
    (vendorsOf[format] ?? [format])
      .map((vendor) => byFormat.get(vendor) ?? noEndorsements)
      .reduce(joinEndorsements, noEndorsements);
}

type Statement = readonly [format: string, endorsements: Endorsements];

const brace = 0x7b;

function statements(file: NamedFile): readonly Statement[] {
  if (file.bytes.find((byte) => byte > 0x20) === brace) return [document(file)];
  const certificates = blocks(file, 'CERTIFICATE').map((der): Statement => {
    const { issuer } = wellFormed(file, () => parseCertificate(der, file.name));
    return [formatOf(issuer), { certificates: [der], crls: [] }];
  });
  if (!looksLikePem(file.bytes)) return certificates;
  const lists = blocks(file, 'X509 CRL').map((der): Statement => {
    const { issuer } = wellFormed(file, () => parseCertificateList(der, file.name));
    return [formatOf(issuer), { certificates: [], crls: [der] }];
  });
  return [...certificates, ...lists];
}

/** By the names that vendors give their CAs; only good for choosing. */
function formatOf({ commonName = '' }: Name): string {
  if (/^(ARK|SEV)-/.test(commonName)) return 'snp';
  return commonName.startsWith('Intel SGX ') ? 'tdx' : 'tpm';
}

function document(file: NamedFile): Statement {
  const [format, read] = wellFormed(file, () => documentReader(file));
  return [format, { ...noEndorsements, documents: [read] }];
}

function documentReader({ name, bytes }: NamedFile): readonly [string, EndorsementDocument] {
  const text = new TextDecoder().decode(bytes);
  for (const [member, mediaType] of [
    ['tcbInfo', tcbInfoType],
    ['enclaveIdentity', qeIdentityType],
  ] as const) {
    if (!text.includes(`"${member}"`)) continue;
    parseSignedJson(bytes, member);
    return ['tdx', { mediaType, value: bytes }];
  }
  const value = encodePlatformKey(readPlatformKeyFile(bytes, name));
  return ['cca', { mediaType: platformKeyType, value }];
}
