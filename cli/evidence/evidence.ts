import { CvmpError } from '#core/errors.js';
import type { FailedCheck } from '#core/rats/attestation-result.js';
import { type NamedFile, piecesOf } from './pieces.js';
import { soundCca } from './sound/cca.js';
import { soundCollection } from './sound/collection.js';
import { type Material, type Sound, sorted } from './sound/material.js';
import { soundSnp } from './sound/snp.js';
import { soundTdx } from './sound/tdx.js';
import { soundAzure, soundTpm } from './sound/tpm.js';
import { readTrustAnchors, vendorRoots } from './trust-anchors.js';

/** What `cvmp evidence verify` is given. */
export interface EvidenceFiles {
  /** Evidence and whatever it is verified by, in any order: what each is, its content says. */
  readonly files: readonly NamedFile[];
  /** Undefined: the roots of the vendors. */
  readonly trustAnchors: NamedFile | undefined;
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
}

/** Whether evidence is genuine, and if not, why not. */
export type EvidenceVerdict =
  | ({ readonly accepted: true } & Sound)
  | {
      readonly accepted: false;
      readonly failure: FailedCheck & {
        /** What the code means in general. */
        readonly next: string;
      };
    };

/** Genuine evidence may be of a CVM that no policy can admit: one under debug, say. */
function denied({ verified }: Sound): readonly string[] {
  const failures = verified?.scheme.deny(verified.claims) ?? [];
  return failures.map(({ message }) => `no policy admits it: ${message}`);
}

const judges: Readonly<
  Record<ReturnType<typeof sorted>['kind'], (material: Material) => Promise<Sound>>
> = {
  'snp-report': soundSnp,
  'tdx-quote': soundTdx,
  'azure-hcl-report': soundAzure,
  'tpm-quote': soundTpm,
  'cca-token': soundCca,
  'cmw-collection': soundCollection,
  corim: () => {
    const why = 'a CoRIM is no evidence: cvmp policy import takes its reference values';
    throw new CvmpError('USAGE', why);
  },
  ear: () => {
    throw new CvmpError('USAGE', 'an EAR is a result of somebody else: cvmp ear verify');
  },
};

/**
 * Judges soundness: signatures, chain, certificate against report, validity at the time of
 * evaluation. Not freshness, and not whether this is the CVM that somebody wants.
 * @throws CvmpError USAGE where something is missing or too much: not the evidence's fault
 */
export async function verifyEvidenceFiles({
  files,
  trustAnchors,
  at,
}: EvidenceFiles): Promise<EvidenceVerdict> {
  const anchors = trustAnchors === undefined ? vendorRoots : readTrustAnchors(trustAnchors);
  try {
    const { kind, pieces } = sorted(files.flatMap(piecesOf));
    const sound = await judges[kind]({ pieces, anchors, at });
    return { accepted: true, ...sound, notes: [...sound.notes, ...denied(sound)] };
  } catch (error) {
    if (!(error instanceof CvmpError) || error.code === 'USAGE') throw error;
    const { code, message, field = 'evidence', next } = error;
    return { accepted: false, failure: { code, check: field, message, next } };
  }
}
