import { crypto } from '#crypto';
import { equalBytes } from '../../bytes.js';
import { encode } from '../../cbor/encode.js';
import { decodeMap } from '../../cbor/read.js';
import type { CborValue } from '../../cbor/value.js';
import { CvmpError } from '../../errors.js';
import type { KeyToActivate } from '../../rats/activation.js';
import { type Endorsements, joinEndorsements, type TrustAnchor } from '../../rats/endorsements.js';
import { parseCertificate } from '../../x509/certificate.js';
import type { ActivatedKey } from '../claims.js';
import type { TpmEvidence } from '../evidence.js';
import { isAttestationKey } from '../public-area.js';
import { verifyKeyCertificate } from './chain.js';
import { isEkCertificate, makeCredential } from './credential.js';

/**
 * The server's own word that a TPM opened the credential that it made for this AK. Only the verifier
 * itself makes such a document; none that comes with evidence is looked at.
 */
export const activatedAkType = 'application/vnd.cvmp.activated-ak+cbor';

const field = 'activated_ak';

/** `{1: name of the AK, 2: SHA-256 of the EK's SPKI, 3: anchor, 4: simulated}` */
export function encodeActivatedKey(key: ActivatedKey): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, key.akName],
      [2, key.ekDigest],
      [3, key.anchorName],
      [4, key.simulated],
    ]),
  );
}

/** What the verifier came to know of the AK of this name, if anything. */
export function findActivatedKey(
  akName: Uint8Array,
  { documents = [] }: Endorsements,
): ActivatedKey | undefined {
  for (const { mediaType, value } of documents) {
    if (mediaType !== activatedAkType) continue;
    const key = decodeMap(value, field, (m) => ({
      akName: m.bytes(1, 'ak_name'),
      ekDigest: m.bytes(2, 'ek_digest', { length: 32 }),
      anchorName: m.text(3, 'anchor'),
      simulated: m.boolean(4, 'simulated'),
    }));
    if (equalBytes(key.akName, akName)) return key;
  }
  return undefined;
}

/**
 * The AK of evidence that brings an EK certificate in place of one of its own: first half of AK
 * trust a (protocol.md s.4). Sealed to the EK, the secret comes back only from the TPM that the
 * certificate is of, and only while it holds the AK.
 * @param at time of evaluation, milliseconds since 1970
 * @throws CvmpError AK_UNTRUSTED, WRONG_KEY_TYPE, UNTRUSTED_ROOT, CHAIN_INVALID, CERT_EXPIRED,
 *   CERT_REVOKED, COLLATERAL_STALE, UNKNOWN_CRITICAL, MALFORMED, NOT_CANONICAL, SIZE
 */
export async function akToActivate(
  { akPublic, certificates, ekCertificates }: TpmEvidence,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<KeyToActivate | undefined> {
  const [leaf] = ekCertificates;
  if (certificates.length > 0 || akPublic === undefined || leaf === undefined) return undefined;
  // An unrestricted key would sign a quote that its owner wrote himself.
  if (!isAttestationKey(akPublic)) {
    throw new CvmpError('AK_UNTRUSTED', 'the key of the quote is no attestation key', {
      field: 'tpm.ak_public',
    });
  }
  const ek = parseCertificate(leaf, 'ek_certificate');
  if (!isEkCertificate(ek)) {
    throw new CvmpError('WRONG_KEY_TYPE', `${ek.subject.text} is not the certificate of an EK`, {
      field: 'ek_certificate',
    });
  }
  const carried = { certificates: ekCertificates.slice(1), crls: [] };
  const all = joinEndorsements(carried, endorsements);
  const anchor = await verifyKeyCertificate(ek, all, anchors, at);
  const activated: ActivatedKey = {
    akName: akPublic.name,
    ekDigest: crypto.hash('sha256', ek.spki),
    anchorName: anchor.name,
    simulated: anchor.isTpmMaker !== true,
  };
  return {
    seal: (secret) => makeCredential(ek, akPublic.name, secret),
    endorsement: { mediaType: activatedAkType, value: encodeActivatedKey(activated) },
  };
}
