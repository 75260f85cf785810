import type { Claims } from '../rats/claims.js';
import type { SnpClaims } from '../snp/claims.js';
import type { Measurements } from '../tpm/claims.js';
import type { SvsmAkTrust } from './vtpm.js';

/** What verified evidence of a CVM with an SVSM asserts. */
export interface SvsmClaims extends Claims {
  readonly format: 'svsm';
  /** Of the SVSM and of what was launched with it. */
  readonly hardware: SnpClaims;
  /** GUIDs of the services that it attested, in its order. */
  readonly services: readonly string[];
  /** What its vTPM measured; undefined where the evidence has no quote. */
  readonly vtpm: SvsmVtpm | undefined;
}

/** A quote by an AK that the SVSM vouches for. */
export interface SvsmVtpm {
  readonly measurements: Measurements;
  readonly akTrust: SvsmAkTrust;
  /** SHA-256 over the AK's SubjectPublicKeyInfo. */
  readonly akDigest: Uint8Array;
}
