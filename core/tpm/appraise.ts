import { crypto } from '#crypto';
import { equalBytes, toHex } from '../bytes.js';
import { signatureType } from '../eventlog/efi-variable.js';
import { isUntouched } from '../eventlog/replay.js';
import type { FailedCheck } from '../rats/attestation-result.js';
import { type Check, failed } from '../rats/checks.js';
import type { Measurements, TpmClaims } from './claims.js';
import type { BootRules, TpmLevel, TpmReference, TpmRules } from './rules.js';

/** One check of verified claims: says what is wrong, or nothing. */
/** PCR of the command line and everything else that comes from outside of a UKI. */
const commandLinePcr = 12;

/** What the measurements of a boot must show (protocol.md s.4 steps 5 and 8). */
const bootRules: readonly Check<Measurements, BootRules>[] = [
  {
    name: 'selection',
    code: 'PCR_SELECTION',
    fault: (found, { bank, pcrs }) => {
      if (found.bank !== bank) return `the quote is over bank ${found.bank}, not ${bank}`;
      const missing = pcrs.filter((pcr) => !found.pcrs.has(pcr));
      return missing.length === 0 ? undefined : `PCRs ${missing.join(', ')} are not quoted`;
    },
  },
  {
    name: 'measurement',
    code: 'POLICY_MEASUREMENT',
    fault: (found, { references }) =>
      matching(found, references).length > 0
        ? undefined
        : `the PCRs match none of ${references.length} admitted boots`,
  },
  {
    name: 'explained',
    code: 'EVENT_LOG_MISMATCH',
    fault: (found, { references, unexplained }) => {
      const stated = matching(found, references).flatMap(({ pcrs }) => [...pcrs.keys()]);
      const open = [...found.pcrs.keys()].filter(
        (pcr) => !found.explained.has(pcr) && !stated.includes(pcr) && !unexplained.includes(pcr),
      );
      return open.length === 0 ? undefined : `nothing explains PCRs ${open.join(', ')}`;
    },
  },
  {
    // A sealed image can be given a hostile command line, credentials or add-ons: they end up here.
    name: 'command-line',
    code: 'POLICY_MEASUREMENT',
    fault: (found, { references }) => {
      const value = found.pcrs.get(commandLinePcr);
      if (value === undefined || isUntouched(commandLinePcr, value)) return undefined;
      return matching(found, references).some(({ pcrs }) => pcrs.has(commandLinePcr))
        ? undefined
        : `PCR ${commandLinePcr} is ${toHex(value)}, and no admitted boot states it`;
    },
  },
  {
    name: 'secure-boot',
    code: 'POLICY_SECURE_BOOT',
    fault: ({ secureBoot }, { allowNoSecureBoot }) => {
      if (allowNoSecureBoot) return undefined;
      if (secureBoot.state === 'unknown') return secureBoot.why;
      return secureBoot.state === 'enabled' ? undefined : 'Secure Boot is off';
    },
  },
  {
    name: 'authorities',
    code: 'POLICY_SECURE_BOOT',
    fault: ({ secureBoot }, { authorities }) => {
      if (authorities.length === 0) return undefined;
      if (secureBoot.state === 'unknown') return secureBoot.why;
      const other = secureBoot.authorities
        .filter(({ variable }) => variable !== 'SbatLevel' && variable !== 'MokListTrusted')
        .map(({ data }) => (data.length === 32 ? data : crypto.hash('sha256', data)))
        .find((digest) => !authorities.some((admitted) => equalBytes(admitted, digest)));
      return other === undefined ? undefined : `${toHex(other)} signed what was started`;
    },
  },
  {
    name: 'dbx',
    code: 'POLICY_SECURE_BOOT',
    fault: ({ secureBoot }, { dbxHolds }) => {
      if (dbxHolds.length === 0) return undefined;
      if (secureBoot.state === 'unknown') return secureBoot.why;
      const { dbx } = secureBoot.databases;
      const missing = dbxHolds.filter(
        (hash) =>
          !dbx.some(({ type, data }) => type === signatureType.sha256 && equalBytes(data, hash)),
      );
      return missing.length === 0 ? undefined : `dbx lacks ${missing.length} revoked images`;
    },
  },
];

const keyRules: readonly Check<TpmClaims, TpmRules>[] = [
  {
    name: 'ak-trust',
    code: 'AK_UNTRUSTED',
    fault: ({ ak }, { akTrust }) =>
      akTrust.length === 0 || akTrust.includes(ak.by)
        ? undefined
        : `the AK is trusted by ${ak.by}, not by ${akTrust.join(' or ')}`,
  },
  {
    name: 'google-project',
    code: 'POLICY_CHIP',
    fault: ({ ak }, { googleProjects }) => {
      if (googleProjects.length === 0) return undefined;
      const project = ak.by === 'certificate' ? ak.instance?.projectId : undefined;
      return project !== undefined && googleProjects.includes(project)
        ? undefined
        : `the project is ${project ?? 'not stated'}`;
    },
  },
  {
    name: 'ek',
    code: 'POLICY_CHIP',
    fault: ({ ak }, { ekAllow, ekDeny }) => {
      const found = ak.by === 'activated-credential' ? ak.ek.ekDigest : undefined;
      const isListed = (list: readonly Uint8Array[]) =>
        found !== undefined && list.some((one) => equalBytes(one, found));
      if (isListed(ekDeny)) return `EK ${toHex(found!)} is refused`;
      if (ekAllow.length === 0 || isListed(ekAllow)) return undefined;
      return found === undefined ? 'no EK is proven' : `EK ${toHex(found)} is not admitted`;
    },
  },
];

/** Every rule that the measurements break; `format` begins the names of the checks. */
export function appraiseBoot(
  format: string,
  measurements: Measurements,
  asked: BootRules,
): readonly FailedCheck[] {
  return failed(format, bootRules, measurements, asked);
}

/** No boot is refused whatever a policy says; what is, was refused by verification. */
export function deny(_claims: TpmClaims): readonly FailedCheck[] {
  return [];
}

/** Every rule that the claims break. */
export function appraise(claims: TpmClaims, asked: TpmRules): readonly FailedCheck[] {
  return [
    ...failed('tpm', keyRules, claims, asked),
    ...appraiseBoot('tpm', claims.measurements, asked),
  ];
}

/** Everything that the measurements lack for this level. */
export function bootLacks(
  format: string,
  measurements: Measurements,
  rules: BootRules,
  level: TpmLevel,
): readonly FailedCheck[] {
  return failed(format, levelChecks, measurements, { rules, level });
}

/** Everything that the claims lack for this level. */
export function lacks(claims: TpmClaims, rules: TpmRules, level: TpmLevel): readonly FailedCheck[] {
  return bootLacks('tpm', claims.measurements, rules, level);
}

interface LevelAsked {
  readonly rules: BootRules;
  readonly level: TpmLevel;
}

const levelChecks: readonly Check<Measurements, LevelAsked>[] = [
  {
    name: 'level.image-svn',
    code: 'POLICY_MEASUREMENT',
    fault: (found, { rules: { references }, level: { imageSvnMin } }) => {
      const svns = matching(found, references).map(({ imageSvn }) => imageSvn);
      const imageSvn = Math.max(0, ...svns);
      return imageSvn >= imageSvnMin
        ? undefined
        : `the SVN of the measured image is ${imageSvn}, below ${imageSvnMin}`;
    },
  },
  {
    name: 'level.firmware-version',
    code: 'POLICY_TCB',
    fault: ({ quote: { firmwareVersion } }, { level: { firmwareVersionMin } }) =>
      firmwareVersion >= firmwareVersionMin
        ? undefined
        : `firmware ${firmwareVersion.toString(16)} of the TPM is below ${firmwareVersionMin.toString(16)}`,
  },
];

/** References whose stated PCRs are all as quoted; one that states none matches nothing. */
function matching(
  { pcrs }: Measurements,
  references: readonly TpmReference[],
): readonly TpmReference[] {
  return references.filter(
    (reference) =>
      reference.pcrs.size > 0 &&
      [...reference.pcrs].every(([pcr, value]) => {
        const found = pcrs.get(pcr);
        return found !== undefined && equalBytes(found, value);
      }),
  );
}
