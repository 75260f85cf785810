import { toHex } from '#core/bytes.js';
import { type CcaToken, parseCcaToken } from '#core/cca/token.js';
import { crypto } from '#crypto';
import type { Tree } from '../tree.js';

/** Every claim of a token (draft-ffm-rats-cca-token). */
export function ccaTree(bytes: Uint8Array): Tree {
  return tokenTree(parseCcaToken(bytes));
}

export function tokenTree({ platform: { claims: platform }, realm }: CcaToken): Tree {
  const { claims } = realm;
  return {
    realm: {
      challenge: toHex(claims.challenge),
      personalization_value: toHex(claims.personalizationValue),
      initial_measurement: toHex(claims.initialMeasurement),
      extensible_measurements: Object.fromEntries(
        claims.extensibleMeasurements.map((value, i) => [`REM${i}`, toHex(value)]),
      ),
      hash: claims.hash,
      public_key_sha256: toHex(crypto.hash('sha256', claims.publicKey.spki)),
    },
    platform: {
      challenge: toHex(platform.challenge),
      implementation_id: toHex(platform.implementationId),
      instance_id: toHex(platform.instanceId),
      config: toHex(platform.config),
      lifecycle: `0x${platform.lifecycle.toString(16)}`,
      hash: platform.hash,
      ...Object.fromEntries(
        platform.components.map((one, i) => [
          `component ${i + 1}`,
          {
            type: one.type ?? '',
            measurement: toHex(one.measurement),
            version: one.version ?? '',
            signer_id: toHex(one.signerId),
          },
        ]),
      ),
    },
  };
}
