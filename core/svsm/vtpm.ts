import { crypto } from '#crypto';
import { ByteReader, equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { KeyToActivate } from '../rats/activation.js';
import type { Endorsements } from '../rats/endorsements.js';
import { activatedAkType, encodeActivatedKey, findActivatedKey } from '../tpm/ak/activation.js';
import { type EndorsementKey, makeCredential } from '../tpm/ak/credential.js';
import { isAttestationKey, type PublicArea, parsePublicArea } from '../tpm/public-area.js';
import { readPublicKeyInfo } from '../x509/public-key.js';

/** What the vTPM service of an SVSM says about itself. Parsed, not trusted. */
export interface VtpmManifest {
  /** 0: the EK alone (SVSM specification s.8.3.1); 1: any keys of the vTPM, an AK among them. */
  readonly version: 0 | 1;
  readonly keys: readonly PublicArea[];
}

const field = 'svsm.vtpm';
const keysMax = 16;
const version1 = 1;

/**
 * Parses the manifest of the vTPM service. Version 0 is the TPMT_PUBLIC of the EK; version 1 is
 * u32 version, u32 count and as many TPM2B_PUBLIC, all big-endian.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_ALGORITHM
 */
export function parseVtpmManifest(bytes: Uint8Array): VtpmManifest {
  const reader = new ByteReader(bytes, 'big');
  // A TPMT_PUBLIC begins with the algorithm, which is never zero.
  if (reader.u16(field) !== 0) return { version: 0, keys: [parsePublicArea(bytes)] };
  const version = reader.u16(field);
  if (version !== version1) {
    throw new CvmpError('UNSUPPORTED_VERSION', `vTPM manifest of version ${version}`, { field });
  }
  const count = reader.u32(field);
  if (count > keysMax) throw new CvmpError('SIZE', `a vTPM manifest of ${count} keys`, { field });
  const keys: PublicArea[] = [];
  for (let i = 0; i < count; i++) {
    keys.push(parsePublicArea(reader.take(reader.u16(field), field)));
  }
  reader.end(field);
  return { version: 1, keys };
}

/** The EK that a version 0 manifest names, to make a credential for. @throws CvmpError MALFORMED */
export function endorsementKeyOf({ version, keys }: VtpmManifest): EndorsementKey | undefined {
  const [ek] = keys;
  if (version !== 0 || ek === undefined) return undefined;
  return { spki: ek.spki, publicKey: readPublicKeyInfo(ek.spki, field) };
}

/** How the AK of an SVSM's vTPM came to be trusted. */
export type SvsmAkTrust = 'svsm-manifest' | 'svsm-activated-credential';

/**
 * Protocol.md s.4, AK trust (d): a quote proves nothing but that its key signed it, so the manifest
 * must name the AK, or the EK whose TPM showed that it holds the AK.
 * @param manifest that a verified VMPL 0 report was made over
 * @throws CvmpError AK_UNTRUSTED, MALFORMED
 */
export function trustVtpmAk(
  manifest: VtpmManifest,
  ak: PublicArea,
  endorsements: Endorsements,
): SvsmAkTrust {
  if (names(manifest, ak)) return 'svsm-manifest';
  const ek = endorsementKeyOf(manifest);
  const activated = isAttestationKey(ak) ? findActivatedKey(ak.name, endorsements) : undefined;
  // Another EK than the manifest's may be of any TPM.
  if (ek !== undefined && activated !== undefined && equalBytes(activated.ekDigest, digestOf(ek))) {
    return 'svsm-activated-credential';
  }
  throw new CvmpError('AK_UNTRUSTED', 'the manifest of the SVSM does not vouch for the AK', {
    field: 'tpm.ak',
  });
}

/**
 * What has to be activated before {@link trustVtpmAk}: an AK that the manifest does not name itself.
 * The manifest is not verified yet; a credential for an EK that is not the vTPM's proves nothing.
 * @throws CvmpError MALFORMED
 */
export function vtpmAkToActivate(
  manifest: VtpmManifest,
  ak: PublicArea,
): KeyToActivate | undefined {
  const ek = endorsementKeyOf(manifest);
  if (ek === undefined || !isAttestationKey(ak) || names(manifest, ak)) return undefined;
  const value = encodeActivatedKey({
    akName: ak.name,
    ekDigest: digestOf(ek),
    anchorName: 'SVSM',
    // No certificate vouches for this EK: alone it is anybody's.
    simulated: true,
  });
  return {
    seal: (secret) => makeCredential(ek, ak.name, secret),
    endorsement: { mediaType: activatedAkType, value },
  };
}

/** A key that is not restricted would sign a quote that its owner wrote himself. */
function names({ keys }: VtpmManifest, ak: PublicArea): boolean {
  return isAttestationKey(ak) && keys.some(({ name }) => equalBytes(name, ak.name));
}

function digestOf({ spki }: EndorsementKey): Uint8Array {
  return crypto.hash('sha256', spki);
}
