import { CvmpError } from '#core/errors.js';
import type { Endorsements, TrustAnchor } from '#core/rats/endorsements.js';
import type { VerifiedEvidence } from '#core/rats/verify.js';
import { type EvidenceKind, evidenceKinds, type Piece } from '../pieces.js';
import type { Tree } from '../tree.js';

/** Everything that a person gave, by what it is, and by what it is judged. */
export interface Material {
  readonly pieces: readonly Piece[];
  readonly anchors: readonly TrustAnchor[];
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
}

/** Sound evidence. */
export interface Sound {
  readonly kind: string;
  /** What people look at first. */
  readonly claims: Tree;
  /** For appraisal; undefined where something is missing that a policy asks for. */
  readonly verified?: Pick<VerifiedEvidence, 'scheme' | 'claims'>;
  /** What was not judged for lack of material, in sentences. */
  readonly notes: readonly string[];
}

type PieceOf<K extends Piece['kind']> = Piece & { readonly kind: K };

/** @throws CvmpError USAGE where there are several */
export function only<K extends Piece['kind']>(
  { pieces }: Material,
  kind: K,
): PieceOf<K> | undefined {
  const found = pieces.filter((piece): piece is PieceOf<K> => piece.kind === kind);
  if (found.length > 1) {
    const names = found.map(({ name }) => name).join(', ');
    throw new CvmpError('USAGE', `more than one ${kind}: ${names}`);
  }
  return found[0];
}

/** @throws CvmpError USAGE where there is none, saying why one is needed */
export function needed<K extends Piece['kind']>(
  material: Material,
  kind: K,
  why: string,
): PieceOf<K> {
  const found = only(material, kind);
  if (found !== undefined) return found;
  throw new CvmpError('USAGE', `${kind} is missing: ${why}`);
}

/** Certificates, lists and statements among the pieces. */
export function endorsementsOf({ pieces }: Material): Endorsements {
  const bytes = (kind: Piece['kind']) => pieces.filter((p) => p.kind === kind).map((p) => p.bytes);
  return {
    certificates: bytes('certificate'),
    crls: bytes('crl'),
    documents: pieces.flatMap((piece) => (piece.kind === 'document' ? [piece.document] : [])),
  };
}

/** Kinds of evidence that go together, by what decides how they are judged. */
const together: Readonly<Record<EvidenceKind, readonly EvidenceKind[]>> = {
  'azure-hcl-report': ['tpm-quote', 'tdx-quote', 'snp-report'],
  'cmw-collection': [],
  'snp-report': [],
  'tdx-quote': [],
  'tpm-quote': [],
  'cca-token': [],
  corim: [],
  ear: [],
};

/**
 * What the pieces are evidence of. Something unknown in the first place is taken for what the rest
 * is about, so that it is refused as such.
 * @throws CvmpError USAGE, MALFORMED
 */
export function sorted(pieces: readonly Piece[]): {
  readonly kind: EvidenceKind;
  readonly pieces: readonly Piece[];
} {
  const [first, ...rest] = pieces;
  const guess = first?.kind === 'unknown' ? guessed(first, rest) : undefined;
  const all: readonly Piece[] =
    guess === undefined || first === undefined
      ? pieces
      : [{ name: first.name, bytes: first.bytes, kind: guess }, ...rest];
  for (const piece of all) {
    if (piece.kind !== 'unknown') continue;
    const what = `${piece.why}; what can be verified, cvmp evidence show --help lists`;
    throw new CvmpError('MALFORMED', what, { field: piece.name });
  }
  const found = evidenceKinds.filter((kind) => all.some((piece) => piece.kind === kind));
  const kind = found.find((one) => found.every((k) => k === one || together[one].includes(k)));
  if (kind !== undefined) return { kind, pieces: all };
  if (found.length > 0) {
    throw new CvmpError('USAGE', `one piece of evidence at a time: ${found.join(' beside ')}`);
  }
  const what = all.map((piece) => `${piece.name} is ${piece.kind}`).join(', ');
  const needed = 'give the report, quote, token or collection too';
  throw new CvmpError('MALFORMED', `there is no evidence among the files (${what}): ${needed}`);
}

function guessed({ bytes }: Piece, rest: readonly Piece[]): EvidenceKind | undefined {
  const has = (...kinds: readonly Piece['kind'][]) => rest.some(({ kind }) => kinds.includes(kind));
  if (has('azure-hcl-report', 'tpm-signature', 'pcrs', 'tpm-public')) return 'tpm-quote';
  if (has('tpm-quote')) return 'azure-hcl-report';
  if (bytes.length > 1000 && bytes.length < 1400) return 'snp-report';
  return has('certificate') && bytes.length > 600 ? 'tdx-quote' : undefined;
}
