import { fromUtf8, toHex } from '#core/bytes.js';
import { decodePlatformKey, platformKeyType } from '#core/cca/endorsement.js';
import { CvmpError } from '#core/errors.js';
import { type CmwCollection, decodeCmw } from '#core/rats/cmw.js';
import { parseReport } from '#core/snp/parse.js';
import { isSvsmCollection, svsmLabel } from '#core/svsm/evidence.js';
import { parseTpmCollection, tpmLabels } from '#core/tpm/evidence.js';
import { crypto } from '#crypto';
import { showEar } from '../../ear/ear-text.js';
import { showCorim } from '../corim-text.js';
import { type NamedFile, type Piece, piecesOf } from '../pieces.js';
import { rtmrLogTree } from '../rtmr-log.js';
import type { Tree } from '../tree.js';
import { ccaTree } from './cca.js';
import { certificateTree, crlTree } from './certificates.js';
import { eventLogTree } from './event-log.js';
import { reportTree } from './snp.js';
import { servicesManifestTree, svsmTree } from './svsm.js';
import { quoteTree } from './tdx.js';
import {
  hclTree,
  jsonTree,
  pcrTree,
  publicAreaTree,
  quoteFileTree,
  signatureTree,
  tpmQuoteTree,
} from './tpm.js';

/** A file that is told by itself, with every field of it. */
export interface Shown {
  /** `snp`, `tdx-quote`, `cmw-collection` ... */
  readonly kind: string;
  /** What each part is, and its fields. */
  readonly parts: readonly { readonly title: string; readonly tree: Tree }[];
}

/** @throws CvmpError MALFORMED where it is nothing that is known, and what its parser throws */
export function showFile(file: NamedFile): Shown {
  const pieces = piecesOf(file);
  const [first] = pieces;
  if (first === undefined) throw new CvmpError('MALFORMED', `${file.name} is empty`);
  const parts =
    first.kind === 'cmw-collection'
      ? collectionParts(decodeCmw(first.bytes, 'evidence'))
      : pieces.map(partOf);
  return { kind: first.kind, parts };
}

type Part = Shown['parts'][number];

function partOf(piece: Piece): Part {
  const { bytes } = piece;
  switch (piece.kind) {
    case 'snp-report':
      return { title: 'attestation report (SEV-SNP ABI)', tree: reportTree(parseReport(bytes)) };
    case 'tdx-quote':
      return { title: 'TD Quote (Intel TDX DCAP)', tree: quoteTree(bytes) };
    case 'azure-hcl-report':
      return { title: 'HCL report (Azure)', tree: hclTree(bytes) };
    case 'tpm-quote':
      return { title: 'quote (TPM 2.0, TPMS_ATTEST)', tree: quoteFileTree(bytes) };
    case 'tpm-signature':
      return { title: 'signature (TPM 2.0)', tree: signatureTree(bytes, piece.isRaw) };
    case 'tpm-public':
      return { title: 'public area (TPM 2.0, TPMT_PUBLIC)', tree: publicAreaTree(bytes) };
    case 'pcrs': {
      const banks = [...piece.banks].map(([bank, values]) => [bank, pcrTree(values)]);
      return { title: 'PCR values', tree: Object.fromEntries(banks) };
    }
    case 'event-log':
      return { title: 'event log (TCG crypto-agile)', tree: eventLogTree(bytes) };
    case 'rtmr-log':
      return { title: 'event log of a TD (JSON)', tree: rtmrLogTree(bytes) };
    case 'cca-token':
      return { title: 'token (Arm CCA)', tree: ccaTree(bytes) };
    case 'cmw-collection':
      return { title: 'CMW collection', tree: {} };
    case 'corim':
      return { title: 'reference values (CoRIM)', tree: showCorim(bytes) };
    case 'ear':
      return { title: 'attestation result (EAR)', tree: showEar(bytes) };
    case 'certificate':
      return { title: 'certificate', tree: certificateTree(bytes) };
    case 'svsm-manifest':
      return { title: 'services manifest (SVSM)', tree: servicesManifestTree(bytes) };
    case 'crl':
      return { title: 'revocation list', tree: crlTree(bytes) };
    case 'public-key':
      return { title: 'public key', tree: { sha256: toHex(crypto.hash('sha256', bytes)) } };
    case 'document':
      return documentPart(piece);
    default:
      throw new CvmpError('MALFORMED', `${notKnown}: ${piece.why}`);
  }
}

const notKnown =
  'neither an attestation report (1184 bytes), a TD Quote, an HCL report, a TPM quote, a CCA token,\n' +
  'a CMW collection, an event log, a CoRIM nor what they are verified by';

function documentPart({ bytes, document }: Extract<Piece, { kind: 'document' }>): Part {
  if (document.mediaType === platformKeyType) {
    const { implementationId, instanceId, endorser, simulated } = decodePlatformKey(document.value);
    const tree = {
      implementation_id: toHex(implementationId),
      instance_id: toHex(instanceId),
      endorser,
      simulated,
    };
    return { title: 'platform key (Arm CCA)', tree };
  }
  const json: unknown = JSON.parse(fromUtf8(bytes, 'document'));
  return { title: 'collateral (Intel PCS)', tree: jsonTree(json) };
}

/** The quote with its values, and what vouches for its key. */
function tpmTree(collection: CmwCollection): Tree {
  const { quote, pcrs, akPublic, certificates, ekCertificates } = parseTpmCollection(collection);
  const chain = (name: string, ders: readonly Uint8Array[]) =>
    Object.fromEntries(ders.map((der, i) => [`${name} ${i + 1}`, certificateTree(der)]));
  return {
    ...tpmQuoteTree(quote),
    pcrs: pcrTree(pcrs),
    ...(akPublic === undefined ? {} : { ak_name: toHex(akPublic.name) }),
    ...chain('AK certificate', certificates),
    ...chain('EK certificate', ekCertificates),
  };
}

/** Every record of a collection; what CVMP knows in all its fields. */
function collectionParts(collection: CmwCollection): readonly Part[] {
  return [...collection].flatMap(([label, { mediaType, value }]): Part[] => {
    if (label === tpmLabels.quote)
      return [{ title: `${label}: quote (TPM 2.0)`, tree: tpmTree(collection) }];
    if (label === svsmLabel && isSvsmCollection(collection))
      return [{ title: `${label}: services of an SVSM`, tree: svsmTree(collection) }];
    const head = `${label} (${mediaType})`;
    const pieces = piecesOf({ name: label, bytes: value });
    const known = pieces.filter(({ kind }) => kind !== 'unknown' && kind !== 'cmw-collection');
    if (known.length === 0 || !mediaType.startsWith('application/vnd.cvmp.')) {
      return [
        { title: head, tree: { bytes: value.length, sha256: toHex(crypto.hash('sha256', value)) } },
      ];
    }
    return known.map((piece) => {
      const { title, tree } = partOf(piece);
      return { title: `${label}: ${title}`, tree };
    });
  });
}
