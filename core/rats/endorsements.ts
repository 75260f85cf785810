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

/**
 * One statement that a vendor publishes, by what identifies it there. A closed set: each format
 * names its own kinds, whoever fetches them has a row for each.
 */
export type VendorStatement =
  | {
      /** Certificate of a chip's key at one TCB (AMD KDS). */
      readonly kind: 'amd-vcek';
      readonly product: string;
      /** 64 bytes, 8 from Turin on. */
      readonly hwId: Uint8Array;
      /** Components by name, 0 to 255 each. */
      readonly tcb: Readonly<Record<'fmc' | 'bootloader' | 'tee' | 'snp' | 'microcode', number>>;
    }
  | {
      /** ASK or ASVK with the ARK; revocation list of the ARK (AMD KDS). */
      readonly kind: 'amd-chain' | 'amd-crl';
      readonly product: string;
      readonly signer: 'vcek' | 'vlek';
    }
  /** TDX TCB Info of a platform family; `fmspc` has 6 bytes (Intel PCS). */
  | { readonly kind: 'intel-tcb-info'; readonly fmspc: Uint8Array }
  | { readonly kind: 'intel-qe-identity' }
  | { readonly kind: 'intel-root-crl' }
  | { readonly kind: 'intel-pck-crl'; readonly ca: 'platform' | 'processor' };

/** A statement that evidence cannot do without, or is judged better with. */
export interface EndorsementNeed {
  readonly statement: VendorStatement;
  /** The Verifier has one already, from the evidence or of its own; a newer one is still better. */
  readonly isCarried: boolean;
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
  /**
   * The Verifier's owner says that this is a maker of TPMs, or a cloud whose vTPMs he trusts.
   * Evidence under any other root that is not pinned in the code counts as simulated.
   */
  readonly isTpmMaker?: boolean;
}

/** Joins what came with the evidence and what the Verifier holds. */
export function joinEndorsements(a: Endorsements, b: Endorsements): Endorsements {
  return {
    certificates: [...a.certificates, ...b.certificates],
    crls: [...a.crls, ...b.crls],
    documents: [...(a.documents ?? []), ...(b.documents ?? [])],
  };
}
