/** Statements of a vendor about the Attester (RFC 9334 s.8.2), from whatever source. */
export interface Endorsements {
  /** DER certificates in any order; the scheme finds their roles. */
  readonly certificates: readonly Uint8Array[];
  /** DER revocation lists; each is enforced where its issuer signs in the chain. */
  readonly crls: readonly Uint8Array[];
  /** Signed statements that are neither; schemes pass over the types of other schemes. */
  readonly documents?: readonly EndorsementDocument[];
}

/** A vendor's statement in a form of its own: Intel's TCB Info, the key of an Arm CCA platform. */
export interface EndorsementDocument {
  readonly mediaType: string;
  /** As received: what is signed is never written again. */
  readonly value: Uint8Array;
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
    documents: [...(a.documents ?? []), ...(b.documents ?? [])],
  };
}
