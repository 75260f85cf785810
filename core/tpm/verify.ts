import { crypto } from '#crypto';
import { equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { type Endorsements, joinEndorsements, type TrustAnchor } from '../rats/endorsements.js';
import type { Certificate } from '../x509/certificate.js';
import { keyUsageBit, permitsPurpose, permitsUsage } from '../x509/extensions.js';
import { knownCertificate } from '../x509/known-certificates.js';
import { isStrongRsa } from '../x509/public-key.js';
import { findActivatedKey } from './ak/activation.js';
import { verifyKeyCertificate } from './ak/chain.js';
import { hasGoogleInstance, readGoogleInstance } from './ak/google.js';
import { googleRoot } from './ak/trust-anchors.js';
import type { AkTrust, TpmClaims } from './claims.js';
import type { TpmEvidence } from './evidence.js';
import { configBindingOf, launchMeasurementOf, verifyMeasurements } from './measurements.js';
import { isAttestationKey } from './public-area.js';
import { bootCountsOf } from './resets.js';

/**
 * Verifies TPM evidence in the order of protocol.md s.4: the AK first, then what it signed.
 * @param at time of evaluation, milliseconds since 1970
 * @throws CvmpError with a code of the evidence section of the error table
 */
export async function verifyTpmEvidence(
  evidence: TpmEvidence,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<TpmClaims> {
  const { ak, spki } = await trustAk(evidence, endorsements, anchors, at);
  const measurements = await verifyMeasurements(evidence, spki);
  const akDigest = crypto.hash('sha256', spki);
  return {
    format: 'tpm',
    simulated: isSimulated(ak),
    reportData: measurements.quote.extraData,
    configBinding: configBindingOf(measurements, evidence),
    launchMeasurement: launchMeasurementOf(measurements),
    instanceId: akDigest,
    chipId: ak.by === 'activated-credential' ? ak.ek.ekDigest : undefined,
    bootCounts: bootCountsOf(measurements, akDigest),
    measurements,
    ak,
    akDigest,
  };
}

/**
 * A vTPM is software of its host. Google vouches for those of its confidential VMs; who trusts a
 * maker of TPMs or another host says so.
 */
function isSimulated(ak: AkTrust): boolean {
  switch (ak.by) {
    case 'certificate':
      return !isGoogle(ak.anchor) && ak.anchor.isTpmMaker !== true;
    case 'activated-credential':
      return ak.ek.simulated;
    default:
      return true;
  }
}

/** Step 1: a quote proves nothing but that its key signed it. */
async function trustAk(
  evidence: TpmEvidence,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<{ ak: AkTrust; spki: Uint8Array }> {
  const { akPublic, certificates } = evidence;
  const [leaf] = certificates;
  if (leaf !== undefined) {
    const certificate = knownCertificate(leaf, 'ak_certificate');
    const carried = { certificates: certificates.slice(1), crls: [] };
    const all = joinEndorsements(carried, endorsements);
    const anchor = await verifyKeyCertificate(certificate, all, anchors, at);
    return { ak: trustByCertificate(certificate, anchor), spki: certificate.spki };
  }
  if (akPublic !== undefined) {
    const ek = findActivatedKey(akPublic.name, endorsements);
    // An unrestricted key would sign a quote that its owner wrote himself.
    if (ek !== undefined && isAttestationKey(akPublic)) {
      return { ak: { by: 'activated-credential', ek }, spki: akPublic.spki };
    }
  }
  throw new CvmpError('AK_UNTRUSTED', 'neither a certificate nor an activated credential', {
    field: 'tpm.ak',
  });
}

/** tcg-kp-AIKCertificate (TCG EK Credential Profile, 3.3). */
const akUsage = '2.23.133.8.3';

/** Stops the certificate of an EK, or of a key for anything else, from standing in for an AK's. */
function trustByCertificate(certificate: Certificate, anchor: TrustAnchor): AkTrust {
  const { basicConstraints, extensions, subject, publicKey } = certificate;
  const isForSigning = permitsUsage(extensions, keyUsageBit.digitalSignature);
  const isForEncryption =
    permitsUsage(extensions, keyUsageBit.keyEncipherment) ||
    permitsUsage(extensions, keyUsageBit.keyAgreement);
  // Makers of TPMs certify keys that sign anything, too: device identities, clients of TLS.
  const isForQuotes = permitsPurpose(extensions, akUsage);
  const isStrong = publicKey.kind === 'ec' || isStrongRsa(publicKey);
  if (basicConstraints.ca || !isForSigning || isForEncryption || !isForQuotes || !isStrong) {
    throw new CvmpError('WRONG_KEY_TYPE', `${subject.text} is not the certificate of an AK`, {
      field: 'ak_certificate',
    });
  }
  // Stops another authority that counts as genuine from naming projects of Google's.
  const mayName = isGoogle(anchor) || anchor.isTpmMaker !== true;
  const instance =
    mayName && hasGoogleInstance(certificate) ? readGoogleInstance(certificate) : undefined;
  if (isGoogle(anchor) && instance?.isProduction !== true) {
    throw new CvmpError('AK_UNTRUSTED', `${subject.text} is no production machine of Google`, {
      field: 'ak_certificate',
    });
  }
  return { by: 'certificate', anchor, instance };
}

function isGoogle({ spkiDigest }: TrustAnchor): boolean {
  return equalBytes(spkiDigest, googleRoot.spkiDigest);
}
