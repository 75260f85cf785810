import { equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import { asBytes, decodeMap } from '../cbor/read.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';

/**
 * What a tenant binds to a CVM by hardware (protocol.md s.6.1): its digest is HOST_DATA (SNP) or
 * MRCONFIGID (TDX), so a host can neither redirect the CVM to another Key Server nor give it to
 * another tenant.
 */
export interface ConfigDocument {
  /** Lower-case letters, digits and inner hyphens, at most 63. */
  readonly tenantId: string;
  /** Thumbprints (RFC 9679, SHA-256, 32 bytes) of the Key Servers that it may talk to; 1 to 8. */
  readonly keyServers: readonly Uint8Array[];
  /** Thumbprint of the tenant's signing key, which signs its Keying Policies. */
  readonly policyAnchor: Uint8Array;
  /** Lower-case letters, digits and inner hyphens, at most 63. */
  readonly cvmName: string;
  /** Lowest protocol version that the agent may accept; 1 where it is not said. */
  readonly protocolMin?: number;
}

const version = 1;
const key = {
  version: 1,
  tenantId: 2,
  keyServers: 3,
  policyAnchor: 4,
  cvmName: 5,
  protocolMin: 6,
} as const;
const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const thumbprint = { length: 32 };
const keyServersMax = 8;
const field = 'config_document';

/** Deterministic CBOR. @throws CvmpError MALFORMED, SIZE where a value breaks its rule */
export function encodeConfigDocument(document: ConfigDocument): Uint8Array {
  const map = new Map<CborKey, CborValue>([
    [key.version, version],
    [key.tenantId, document.tenantId],
    [key.keyServers, document.keyServers],
    [key.policyAnchor, document.policyAnchor],
    [key.cvmName, document.cvmName],
  ]);
  if (document.protocolMin !== undefined) map.set(key.protocolMin, document.protocolMin);
  const bytes = encode(map);
  decodeConfigDocument(bytes);
  return bytes;
}

/**
 * Reads a config document; nothing in it is trusted before its digest was found in evidence.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_VERSION
 */
export function decodeConfigDocument(bytes: Uint8Array): ConfigDocument {
  return decodeMap(bytes, field, (m) => {
    if (m.integer(key.version, 'version') !== version) {
      throw new CvmpError('UNSUPPORTED_VERSION', `${field} is of an unknown version`, { field });
    }
    const protocolMin = m.optional(key.protocolMin, () =>
      m.integer(key.protocolMin, 'min_proto', { min: 1, max: 0xffff_ffff }),
    );
    const servers = { min: 1, max: keyServersMax };
    return {
      tenantId: name(m.text(key.tenantId, 'tenant_id'), m.path('tenant_id')),
      keyServers: m.array(key.keyServers, 'ks_thumbprints', servers, (item, path) =>
        asBytes(item, path, thumbprint),
      ),
      policyAnchor: m.bytes(key.policyAnchor, 'policy_anchor', thumbprint),
      cvmName: name(m.text(key.cvmName, 'name'), m.path('name')),
      ...(protocolMin === undefined ? {} : { protocolMin }),
    };
  });
}

/** Whether the document names a Key Server. */
export function namesKeyServer(document: ConfigDocument, keyThumbprint: Uint8Array): boolean {
  return document.keyServers.some((known) => equalBytes(known, keyThumbprint));
}

function name(text: string, path: string): string {
  if (!namePattern.test(text)) {
    const what = `${path} is not lower-case letters, digits and inner hyphens`;
    throw new CvmpError('MALFORMED', what, { field: path });
  }
  return text;
}
