import type { CcaLevel, CcaReference, CcaRules } from '#core/cca/rules.js';
import { CvmpError } from '#core/errors.js';
import type {
  CcaLevel as CcaLevelMessage,
  CcaReference as CcaReferenceMessage,
  CcaRules as CcaRulesMessage,
} from '#gen/cvmp/v1/cca_rules_pb.js';
import { onceEach, stated } from './lists.js';

/** Bytes of the hashes that CCA uses. */
const digestLengths = [32, 48, 64];

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function ccaRulesOf(message: CcaRulesMessage, path: string): CcaRules {
  const references = message.references.map((one, i) =>
    referenceOf(one, `${path}.references[${i}]`),
  );
  onceEach(
    references.map((one) => [one.initialMeasurement, ...one.extensibleMeasurements]),
    `${path}.references`,
  );
  for (const [name, list] of [
    ['firmware', message.firmware],
    ['firmware_signers', message.firmwareSigners],
  ] as const) {
    for (const [i, value] of list.entries()) digest(value, `${path}.${name}[${i}]`);
  }
  return {
    references,
    implementations: message.implementations,
    platformAllow: message.platformAllow,
    platformDeny: message.platformDeny,
    firmware: message.firmware,
    firmwareSigners: message.firmwareSigners,
    configs: message.configs,
  };
}

export function ccaLevelOf({ imageSvnMin }: CcaLevelMessage): CcaLevel {
  return { imageSvnMin };
}

function referenceOf(message: CcaReferenceMessage, path: string): CcaReference {
  const { initialMeasurement, rem0, rem1, rem2, rem3, imageSvn, name } = message;
  digest(initialMeasurement, `${path}.initial_measurement`);
  const extensibleMeasurements = [rem0, rem1, rem2, rem3].map((rem, i) => {
    const value = stated(rem);
    if (value !== undefined && value.length !== initialMeasurement.length) {
      const field = `${path}.rem${i}`;
      const what = `has ${rem.length} bytes, initial_measurement ${initialMeasurement.length}`;
      throw new CvmpError('INVALID_FIELD', `${field} ${what}`, { field });
    }
    return value;
  });
  return { initialMeasurement, extensibleMeasurements, imageSvn, name };
}

function digest(value: Uint8Array, field: string): void {
  if (digestLengths.includes(value.length)) return;
  const what = `${field} has ${value.length} bytes, not ${digestLengths.join(', ')}`;
  throw new CvmpError('INVALID_FIELD', what, { field });
}
