import { equalBytes, toHex } from '../bytes.js';
import type { FailedCheck } from '../rats/attestation-result.js';
import { type Check, failed } from '../rats/checks.js';
import type { CcaClaims } from './claims.js';
import { isSecured } from './platform.js';
import type { CcaLevel, CcaReference, CcaRules } from './rules.js';

/** One check of verified claims: says what is wrong, or nothing. */
/** Refused whatever a policy says (protocol.md s.0.7). */
const denials: readonly Check<CcaClaims, undefined>[] = [
  {
    name: 'lifecycle',
    code: 'POLICY_DEBUG',
    fault: ({ platform: { lifecycle } }) =>
      isSecured(lifecycle)
        ? undefined
        : `the platform is in lifecycle state 0x${lifecycle.toString(16)}, which is not secured`,
  },
];

const rules: readonly Check<CcaClaims, CcaRules>[] = [
  {
    name: 'measurement',
    code: 'POLICY_MEASUREMENT',
    fault: (claims, { references }) =>
      matching(claims, references).length > 0
        ? undefined
        : `RIM ${toHex(claims.realm.initialMeasurement)} with its REMs is not among ${references.length} admitted`,
  },
  {
    name: 'implementation',
    code: 'POLICY_CHIP',
    fault: ({ platform }, { implementations }) =>
      listed('implementation', platform.implementationId, implementations),
  },
  {
    name: 'platform-allow',
    code: 'POLICY_CHIP',
    fault: ({ platform }, { platformAllow }) =>
      listed('platform', platform.instanceId, platformAllow),
  },
  {
    name: 'platform-deny',
    code: 'POLICY_CHIP',
    fault: ({ platform: { instanceId } }, { platformDeny }) =>
      platformDeny.some((one) => equalBytes(one, instanceId))
        ? `platform ${toHex(instanceId)} is refused`
        : undefined,
  },
  {
    name: 'firmware',
    code: 'POLICY_TCB',
    fault: ({ platform }, { firmware }) =>
      firstFault(platform.components, (c) =>
        listed(`measurement of ${c.type ?? 'firmware'}`, c.measurement, firmware),
      ),
  },
  {
    name: 'firmware-signers',
    code: 'POLICY_TCB',
    fault: ({ platform }, { firmwareSigners }) =>
      firstFault(platform.components, (c) =>
        listed(`signer of ${c.type ?? 'firmware'}`, c.signerId, firmwareSigners),
      ),
  },
  {
    name: 'config',
    code: 'POLICY_GUEST',
    fault: ({ platform }, { configs }) =>
      listed('platform configuration', platform.config, configs),
  },
];

interface LevelAsked {
  readonly rules: CcaRules;
  readonly level: CcaLevel;
}

const levelChecks: readonly Check<CcaClaims, LevelAsked>[] = [
  {
    name: 'level.image-svn',
    code: 'POLICY_MEASUREMENT',
    fault: (claims, { rules: { references }, level: { imageSvnMin } }) => {
      const svns = matching(claims, references).map(({ imageSvn }) => imageSvn);
      const imageSvn = Math.max(0, ...svns);
      return imageSvn >= imageSvnMin
        ? undefined
        : `the SVN of the measured image is ${imageSvn}, below ${imageSvnMin}`;
    },
  },
];

/** What no policy can allow. */
export function deny(claims: CcaClaims): readonly FailedCheck[] {
  return failed('cca', denials, claims, undefined);
}

/** Every rule that the claims break. */
export function appraise(claims: CcaClaims, asked: CcaRules): readonly FailedCheck[] {
  return failed('cca', rules, claims, asked);
}

/** Everything that the claims lack for this level. */
export function lacks(claims: CcaClaims, asked: CcaRules, level: CcaLevel): readonly FailedCheck[] {
  return failed('cca', levelChecks, claims, { rules: asked, level });
}

/** References whose RIM and stated REMs are those of the realm. */
function matching(
  { realm }: CcaClaims,
  references: readonly CcaReference[],
): readonly CcaReference[] {
  return references.filter(
    ({ initialMeasurement, extensibleMeasurements }) =>
      equalBytes(initialMeasurement, realm.initialMeasurement) &&
      realm.extensibleMeasurements.every((found, i) => {
        const asked = extensibleMeasurements[i];
        return asked === undefined || equalBytes(asked, found);
      }),
  );
}

function listed(
  what: string,
  found: Uint8Array,
  admitted: readonly Uint8Array[],
): string | undefined {
  if (admitted.length === 0 || admitted.some((one) => equalBytes(one, found))) return undefined;
  return `${what} ${toHex(found)} is not among ${admitted.length} admitted`;
}

function firstFault<T>(
  items: readonly T[],
  fault: (item: T) => string | undefined,
): string | undefined {
  return items.map(fault).find((found) => found !== undefined);
}
