import { cbor, cose, der } from './encodings.js';
import { session, svn } from './protocol.js';
import { results } from './results.js';
import type { Conformance } from './row.js';
import { snp } from './snp.js';
import { tdx } from './tdx.js';
import { cca, tpm } from './tpm.js';

/** What `docs/conformance.md` is written from. */
export const conformance: readonly Conformance[] = [
  cbor,
  der,
  cose,
  snp,
  tdx,
  tpm,
  cca,
  results,
  session,
  svn,
];
