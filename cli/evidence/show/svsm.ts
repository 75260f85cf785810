import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { CmwCollection } from '#core/rats/cmw.js';
import { parseSvsmCollection } from '#core/svsm/evidence.js';
import { parseServicesManifest, type SvsmService, vtpmServiceGuid } from '#core/svsm/manifest.js';
import { parseVtpmManifest } from '#core/svsm/vtpm.js';
import { isAttestationKey } from '#core/tpm/public-area.js';
import { crypto } from '#crypto';
import type { Tree } from '../tree.js';

/** What an SVSM said in evidence (SVSM specification s.7). */
export function svsmTree(collection: CmwCollection): Tree {
  const { nonce, manifest, services } = parseSvsmCollection(collection);
  return {
    nonce: toHex(nonce),
    manifest_sha256: toHex(crypto.hash('sha256', manifest)),
    services: servicesTree(services),
  };
}

/** A services manifest by itself, as `manifestblob` of configfs-tsm gives it. */
export function servicesManifestTree(bytes: Uint8Array): Tree {
  return servicesTree(parseServicesManifest(bytes));
}

function servicesTree(services: readonly SvsmService[]): Tree {
  return Object.fromEntries(services.map((service) => [service.guid, serviceTree(service)]));
}

function serviceTree({ guid, manifest }: SvsmService): Tree {
  const bytes = { bytes: manifest.length, sha256: toHex(crypto.hash('sha256', manifest)) };
  if (guid !== vtpmServiceGuid) return bytes;
  try {
    const { version, keys } = parseVtpmManifest(manifest);
    const all = keys.map((key, i): [string, Tree] => [
      `key ${i + 1}`,
      {
        kind: isAttestationKey(key) ? 'attestation key' : version === 0 ? 'EK' : 'other key',
        name: toHex(key.name),
        spki_sha256: toHex(crypto.hash('sha256', key.spki)),
      },
    ]);
    return { service: 'vTPM', version, ...Object.fromEntries(all) };
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { service: 'vTPM', ...bytes, unreadable: error.message };
  }
}
