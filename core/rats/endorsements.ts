/** Statements of a vendor about the Attester (RFC 9334 s.8.2), as DER, from whatever source. */
export interface Endorsements {
  /** Certificates in any order; the scheme finds their roles. */
  readonly certificates: readonly Uint8Array[];
  /** Revocation lists; each is enforced where its issuer signs in the chain. */
  readonly crls: readonly Uint8Array[];
}

export const noEndorsements: Endorsements = { certificates: [], crls: [] };

/** A root that the Verifier is configured to trust, for one format only. */
export interface TrustAnchor {
  /** Format whose chains may end here. */
  readonly format: string;
  /** For messages and records ("ARK-Genoa"). */
  readonly name: string;
  /** SHA-256 over the DER SubjectPublicKeyInfo, 32 bytes. */
  readonly spkiDigest: Uint8Array;
}

/** Joins what came with the evidence and what the Verifier holds. */
export function joinEndorsements(a: Endorsements, b: Endorsements): Endorsements {
  return {
    certificates: [...a.certificates, ...b.certificates],
    crls: [...a.crls, ...b.crls],
  };
}
