import type { Claims } from '../rats/claims.js';
import type { SnpReport } from './parse.js';
import type { SnpProduct, SnpTcb } from './product.js';

/** The revocation list that the chain was held against; milliseconds since 1970. */
export interface RevocationCheck {
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly checkedAt: number;
}

/** What a verified SNP report asserts. */
export interface SnpClaims extends Claims {
  readonly format: 'snp';
  readonly product: SnpProduct;
  readonly report: SnpReport;
  /** Which key signed the report; its certificate is of this kind. */
  readonly signingKey: 'VCEK' | 'VLEK';
  /** Cloud provider of the VLEK. */
  readonly cspId: string | undefined;
  readonly currentTcb: SnpTcb;
  readonly reportedTcb: SnpTcb;
  readonly committedTcb: SnpTcb;
  readonly launchTcb: SnpTcb;
  /** SHA-256 over the DER of the endorsement key certificate, for the audit record. */
  readonly endorsementDigest: Uint8Array;
  /** The root's list that says that the ASK or ASVK is not revoked; undefined: there was none. */
  readonly revocation: RevocationCheck | undefined;
}
