import type { Bank } from '../eventlog/replay.js';
import type { SecureBoot } from '../eventlog/secure-boot.js';
import type { Claims } from '../rats/claims.js';
import type { TrustAnchor } from '../rats/endorsements.js';
import type { GoogleInstance } from './ak/google.js';
import type { TpmQuote } from './attest.js';
import type { PcrValues } from './quote.js';

/** What vouches for an AK (protocol.md s.4, AK trust). */
export type AkTrust =
  /** Its TPM opened a credential that this server made for its EK. */
  | { readonly by: 'activated-credential'; readonly ek: ActivatedKey }
  /** A certificate under a pinned root; of Google Cloud it names the instance. */
  | {
      readonly by: 'certificate';
      readonly anchor: TrustAnchor;
      readonly instance: GoogleInstance | undefined;
    }
  /** Azure's paravisor, in runtime data that a hardware report was made over. */
  | { readonly by: 'azure-hcl' };

/** An AK that was activated, and by which EK. */
export interface ActivatedKey {
  /** nameAlg || digest of the AK. */
  readonly akName: Uint8Array;
  /** SHA-256 over the SubjectPublicKeyInfo of the EK (32 bytes). */
  readonly ekDigest: Uint8Array;
  /** Root that the EK certificate ends in. */
  readonly anchorName: string;
  /** Whether that root is none that the configuration names as a maker of TPMs. */
  readonly simulated: boolean;
}

/** What a verified TPM quote proves, whatever vouches for its AK. */
export interface Measurements {
  readonly quote: TpmQuote;
  readonly bank: Bank;
  readonly pcrs: PcrValues;
  /** PCRs whose value the event log (or the lack of any event) explains. */
  readonly explained: ReadonlySet<number>;
  readonly secureBoot: SecureBoot;
}

/** What verified TPM evidence asserts. */
export interface TpmClaims extends Claims {
  readonly format: 'tpm';
  readonly measurements: Measurements;
  readonly ak: AkTrust;
  /** SHA-256 over the AK's SubjectPublicKeyInfo. */
  readonly akDigest: Uint8Array;
}
