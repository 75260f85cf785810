import { toHex } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey } from '#core/cose/key.js';
import { type TrustClaimName, trustClaimNames } from '#core/ear/ar4si.js';
import type { AdmittedVerifier, EarLevel, EarRules } from '#core/ear/rules.js';
import { CvmpError } from '#core/errors.js';
import {
  type AdmittedVerifier as AdmittedVerifierMessage,
  type EarLevel as EarLevelMessage,
  type EarRules as EarRulesMessage,
  EarStatus,
} from '#gen/cvmp/v1/ear_rules_pb.js';

const ageSecondsDefault = 300;

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function earRulesOf({ verifiers }: EarRulesMessage, path: string): EarRules {
  return { verifiers: verifiers.map((one, i) => verifierOf(one, `${path}.verifiers[${i}]`)) };
}

export function earLevelOf({ levelMin }: EarLevelMessage): EarLevel {
  return { levelMin };
}

function verifierOf(message: AdmittedVerifierMessage, path: string): AdmittedVerifier {
  const keys = message.keys.map((key, i) => verifierKey(key, `${path}.keys[${i}]`));
  const spkis = keys.map(({ spki }) => toHex(spki));
  const twice = spkis.findIndex((spki, i) => spkis.indexOf(spki) !== i);
  if (twice >= 0) {
    const field = `${path}.keys[${twice}]`;
    throw new CvmpError('POLICY_INVALID', `${field} comes twice`, { field });
  }
  return {
    name: message.name,
    keys,
    developer: message.developer === '' ? undefined : message.developer,
    status: message.status === EarStatus.WARNING ? 'warning' : 'affirming',
    ageSecondsMax: message.ageSecondsMax || ageSecondsDefault,
    policyIds: message.policyIds,
    formats: message.formats,
    affirming: message.affirming.map((name, i) => category(name, `${path}.affirming[${i}]`)),
  };
}

/** A misspelt category would be a rule that nothing can meet. */
function category(name: string, field: string): TrustClaimName {
  const known = trustClaimNames.find((one) => one === name);
  if (known !== undefined) return known;
  const what = `${field} is "${name}", not one of ${trustClaimNames.join(', ')}`;
  throw new CvmpError('INVALID_FIELD', what, { field });
}

function verifierKey(bytes: Uint8Array, field: string): EcPublicKey {
  try {
    return decodeCoseKey(bytes, field);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    const what = `${field} is no public COSE_Key on P-256 or P-384: ${cause.message}`;
    throw new CvmpError('INVALID_FIELD', what, { field, cause });
  }
}
