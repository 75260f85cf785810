import { CvmpError } from '#core/errors.js';
import { type Bank, bankLength } from '#core/eventlog/replay.js';
import type { AkTrust } from '#core/tpm/claims.js';
import {
  type BootRules,
  defaultBootRules,
  type TpmLevel,
  type TpmReference,
  type TpmRules,
} from '#core/tpm/rules.js';
import {
  AkTrust as AkTrustNumber,
  type BootRules as BootRulesMessage,
  PcrBank,
  type TpmLevel as TpmLevelMessage,
  type TpmReference as TpmReferenceMessage,
  type TpmRules as TpmRulesMessage,
} from '#gen/cvmp/v1/tpm_rules_pb.js';
import { onceEach } from './lists.js';

const akTrustOf: Readonly<Record<AkTrustNumber, AkTrust['by'] | undefined>> = {
  [AkTrustNumber.UNSPECIFIED]: undefined,
  [AkTrustNumber.CERTIFICATE]: 'certificate',
  [AkTrustNumber.ACTIVATED_CREDENTIAL]: 'activated-credential',
};

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function tpmRulesOf(message: TpmRulesMessage, path: string): TpmRules {
  return {
    ...bootRulesOf(message.boot, `${path}.boot`),
    akTrust: message.akTrust.flatMap((by) => akTrustOf[by] ?? []),
    googleProjects: message.googleProjects,
    ekAllow: message.ekAllow,
    ekDeny: message.ekDeny,
  };
}

/**
 * @param message undefined: rules that admit nothing
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function bootRulesOf(message: BootRulesMessage | undefined, path: string): BootRules {
  if (message === undefined) return defaultBootRules;
  const bank: Bank = message.bank === PcrBank.SHA384 ? 'sha384' : 'sha256';
  const references = message.references.map((reference, i) =>
    referenceOf(reference, bank, `${path}.references[${i}]`),
  );
  onceEach(
    references.map(({ pcrs }) => Array.from({ length: 24 }, (_, pcr) => pcrs.get(pcr))),
    `${path}.references`,
  );
  return {
    references,
    bank,
    pcrs: message.pcrs.length === 0 ? defaultBootRules.pcrs : message.pcrs,
    unexplained: message.unexplained,
    allowNoSecureBoot: message.allowNoSecureBoot,
    authorities: message.authorities,
    dbxHolds: message.dbxHolds,
  };
}

/** An absent message is an empty rule. */
export function tpmLevelOf(message: TpmLevelMessage | undefined): TpmLevel {
  return {
    imageSvnMin: message?.imageSvnMin ?? 0,
    firmwareVersionMin: message?.firmwareVersionMin ?? 0n,
  };
}

/** A value of another bank's length would never match. */
function referenceOf(message: TpmReferenceMessage, bank: Bank, path: string): TpmReference {
  const pcrs = Object.entries(message.pcrs).map(([key, value]): [number, Uint8Array] => {
    const field = `${path}.pcrs[${key}]`;
    if (value.length !== bankLength[bank]) {
      const what = `has ${value.length} bytes; PCRs of bank ${bank} have ${bankLength[bank]}`;
      throw new CvmpError('INVALID_FIELD', `${field} ${what}`, { field });
    }
    return [Number(key), value];
  });
  return { pcrs: new Map(pcrs), imageSvn: message.imageSvn, name: message.name };
}
