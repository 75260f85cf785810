import type { EndorsementDocument } from './endorsements.js';

/** A secret sealed to a TPM (TPM 2.0 Part 1, 24): only with both keys in it, it opens. */
export interface Credential {
  /** TPM2B_ID_OBJECT. */
  readonly credentialBlob: Uint8Array;
  /** TPM2B_ENCRYPTED_SECRET. */
  readonly encryptedSecret: Uint8Array;
}

/** A key of the evidence that nothing vouches for before its TPM opens a credential. */
export interface KeyToActivate {
  /** @param secret 32 bytes */
  seal(secret: Uint8Array): Promise<Credential>;
  /** What the Verifier itself says of the key once the credential was opened. */
  readonly endorsement: EndorsementDocument;
}

/**
 * Sends a credential to the Attester and waits until it is proven to be open.
 * @throws CvmpError AK_UNTRUSTED where it is not
 */
export type Activate = (key: KeyToActivate) => Promise<void>;
