import { concat, equalBytes, isZero, toHex } from '../bytes.js';
import type { ErrorCode } from '../errors.js';
import type { FailedCheck } from '../rats/attestation-result.js';
import type { SnpClaims } from './claims.js';
import { cpuidVersion, guestPolicyBits, platformInfoBits } from './layout.js';
import { belowFloor, formatTcb, tcbComponents } from './product.js';
import type { SnpLevel, SnpRules } from './rules.js';

/** One check of verified claims: says what is wrong, or nothing. */
interface Check<Asked> {
  /** Stable name, without the format. */
  readonly name: string;
  readonly code: ErrorCode;
  readonly fault: (claims: SnpClaims, asked: Asked) => string | undefined;
}

/** Refused whatever a policy says (protocol.md s.0.7). */
const denials: readonly Check<undefined>[] = [
  {
    name: 'guest-policy.debug',
    code: 'POLICY_DEBUG',
    fault: ({ report }) =>
      (report.guestPolicy & guestPolicyBits.DEBUG) === 0n
        ? undefined
        : 'DEBUG is set in the guest policy: the host can read the memory of this guest',
  },
];

/** Rules of a policy, in the order of their fields. */
const rules: readonly Check<SnpRules>[] = [
  {
    name: 'measurement',
    code: 'POLICY_MEASUREMENT',
    fault: ({ report }, { measurements }) =>
      measurements.some(({ digest }) => equalBytes(digest, report.measurement))
        ? undefined
        : `MEASUREMENT ${toHex(report.measurement)} is not among ${measurements.length} admitted`,
  },
  {
    name: 'vmpl',
    code: 'POLICY_VMPL',
    fault: ({ report }, { vmpl }) =>
      report.vmpl === vmpl ? undefined : `VMPL is ${report.vmpl}, not ${vmpl}`,
  },
  {
    name: 'product',
    code: 'POLICY_CHIP',
    fault: ({ product, report }, { products, chipAllow }) => {
      if (products.length > 0) {
        return products.includes(product) ? undefined : `${product} is not ${products.join(', ')}`;
      }
      // Milan's root of key derivation has been extracted: only the tenant's own chips are credible.
      return product !== 'Milan' || isListed(chipAllow, report.chipId)
        ? undefined
        : 'Milan is admitted only by name or chip by chip';
    },
  },
  {
    name: 'chip-allow',
    code: 'POLICY_CHIP',
    fault: ({ report }, { chipAllow }) =>
      chipAllow.length === 0 || isListed(chipAllow, report.chipId)
        ? undefined
        : `CHIP_ID ${toHex(report.chipId)} is not among ${chipAllow.length} admitted`,
  },
  {
    name: 'chip-deny',
    code: 'POLICY_CHIP',
    fault: ({ report }, { chipDeny }) => {
      if (chipDeny.length === 0) return undefined;
      if (isZero(report.chipId)) return 'CHIP_ID is hidden and some chips are refused';
      return isListed(chipDeny, report.chipId)
        ? `CHIP_ID ${toHex(report.chipId)} is refused`
        : undefined;
    },
  },
  {
    name: 'guest-policy',
    code: 'POLICY_GUEST',
    fault: ({ report }, { guestPolicyMask, guestPolicyValue }) =>
      masked('guest policy', report.guestPolicy, guestPolicyMask, guestPolicyValue),
  },
  {
    name: 'platform-info',
    code: 'POLICY_GUEST',
    fault: ({ report }, { platformInfoMask, platformInfoValue }) => {
      const isDefault = platformInfoMask === 0n && platformInfoValue === 0n;
      const alias = platformInfoBits.ALIAS_CHECK_COMPLETE;
      return isDefault
        ? masked('PLATFORM_INFO', report.platformInfo, alias, alias)
        : masked('PLATFORM_INFO', report.platformInfo, platformInfoMask, platformInfoValue);
    },
  },
  {
    name: 'csp',
    code: 'POLICY_CHIP',
    fault: ({ signingKey, cspId }, { cspIds }) =>
      signingKey === 'VCEK' || (cspId !== undefined && cspIds.includes(cspId))
        ? undefined
        : `signed by the VLEK of ${cspId ?? 'nobody'}, which is not admitted`,
  },
  {
    name: 'report-version',
    code: 'POLICY_GUEST',
    fault: ({ report }, { allowReportV2 }) =>
      report.version >= cpuidVersion || allowReportV2
        ? undefined
        : `report version ${report.version} does not say its CPU family`,
  },
  {
    name: 'migration-agent',
    code: 'POLICY_MIGRATION',
    fault: ({ report }, { migrationAgents }) => {
      const isBound = !report.reportIdMa.every((octet) => octet === 0xff);
      const isAllowed = (report.guestPolicy & guestPolicyBits.MIGRATE_MA) !== 0n;
      if (!isBound && !isAllowed) return undefined;
      if (migrationAgents.some((id) => equalBytes(id, report.reportIdMa))) return undefined;
      return isBound
        ? `migration agent ${toHex(report.reportIdMa)} is not admitted`
        : 'MIGRATE_MA is set in the guest policy: a migration agent can still be bound';
    },
  },
  {
    name: 'id-key',
    code: 'POLICY_GUEST',
    fault: ({ report }, { idKeyDigests }) =>
      listed('ID_KEY_DIGEST', report.idKeyDigest, idKeyDigests),
  },
  {
    name: 'author-key',
    code: 'POLICY_GUEST',
    fault: ({ report }, { authorKeyDigests }) =>
      listed('AUTHOR_KEY_DIGEST', report.authorKeyDigest, authorKeyDigests),
  },
  {
    name: 'family-id',
    code: 'POLICY_GUEST',
    fault: ({ report }, { familyId }) => equal('FAMILY_ID', report.familyId, familyId),
  },
  {
    name: 'image-id',
    code: 'POLICY_GUEST',
    fault: ({ report }, { imageId }) => equal('IMAGE_ID', report.imageId, imageId),
  },
  {
    name: 'provisional-firmware',
    code: 'POLICY_TCB',
    fault: ({ report, currentTcb, committedTcb }, { allowProvisionalFirmware }) => {
      if (allowProvisionalFirmware) return undefined;
      const above = tcbComponents.find((name) => currentTcb[name] !== committedTcb[name]);
      if (above !== undefined) {
        const [current, committed] = [currentTcb[above], committedTcb[above]];
        return `${above} of CURRENT_TCB is ${current}, of COMMITTED_TCB ${committed}`;
      }
      const { currentFirmware: a, committedFirmware: b } = report;
      const isSame = a.major === b.major && a.minor === b.minor && a.build === b.build;
      return isSame
        ? undefined
        : `firmware ${a.major}.${a.minor}.${a.build} runs, ${b.major}.${b.minor}.${b.build} is committed`;
    },
  },
];

interface LevelAsked {
  readonly rules: SnpRules;
  readonly level: SnpLevel;
}

/** What one level asks. */
const levelChecks: readonly Check<LevelAsked>[] = [
  ...(['reportedTcb', 'committedTcb', 'launchTcb'] as const).map(
    (which): Check<LevelAsked> => ({
      name: `level.${which}`,
      code: 'POLICY_TCB',
      fault: (claims, { level }) => {
        const floor = level.tcbMin.find((row) => row.product === claims.product)?.tcb;
        const component = floor && belowFloor(claims[which], floor);
        if (floor === undefined || component === undefined) return undefined;
        return `${which} (${formatTcb(claims[which])}) is below ${component} ${floor[component]}`;
      },
    }),
  ),
  {
    name: 'level.guest-svn',
    code: 'POLICY_GUEST',
    fault: ({ report }, { level }) =>
      report.guestSvn >= level.guestSvnMin
        ? undefined
        : `GUEST_SVN is ${report.guestSvn}, below ${level.guestSvnMin}`,
  },
  {
    name: 'level.image-svn',
    code: 'POLICY_MEASUREMENT',
    fault: ({ report }, { rules: { measurements }, level }) => {
      const image = measurements.find(({ digest }) => equalBytes(digest, report.measurement));
      const imageSvn = image?.imageSvn ?? 0;
      return imageSvn >= level.imageSvnMin
        ? undefined
        : `the SVN of the measured image is ${imageSvn}, below ${level.imageSvnMin}`;
    },
  },
  {
    name: 'level.mitigation-vector',
    code: 'POLICY_TCB',
    fault: ({ report }, { level: { mitigationVector: bits } }) => {
      const [launch, current] = [report.launchMitVector, report.currentMitVector];
      return (launch & current & bits) === bits
        ? undefined
        : `mitigations 0x${bits.toString(16)} asked, launched with 0x${launch.toString(16)}, running 0x${current.toString(16)}`;
    },
  },
];

/** What no policy can allow. */
export function deny(claims: SnpClaims): readonly FailedCheck[] {
  return failed(denials, claims, undefined);
}

/** Every rule that the claims break. */
export function appraise(claims: SnpClaims, asked: SnpRules): readonly FailedCheck[] {
  return failed(rules, claims, asked);
}

/** Everything that the claims lack for this level. */
export function lacks(claims: SnpClaims, asked: SnpRules, level: SnpLevel): readonly FailedCheck[] {
  return failed(levelChecks, claims, { rules: asked, level });
}

function failed<Asked>(
  checks: readonly Check<Asked>[],
  claims: SnpClaims,
  asked: Asked,
): readonly FailedCheck[] {
  return checks.flatMap(({ name, code, fault }) => {
    const message = fault(claims, asked);
    return message === undefined ? [] : [{ code, check: `snp.${name}`, message }];
  });
}

/** Ids of 8 bytes are Turin's, which CHIP_ID holds before zeros. Never a prefix match. */
function isListed(chips: readonly Uint8Array[], chipId: Uint8Array): boolean {
  return chips.some((chip) => {
    const padded = concat(chip, new Uint8Array(Math.max(0, chipId.length - chip.length)));
    return !isZero(chipId) && equalBytes(padded, chipId);
  });
}

function masked(what: string, found: bigint, mask: bigint, value: bigint): string | undefined {
  if ((found & mask) === (value & mask)) return undefined;
  const [f, v, m] = [found, value & mask, mask].map((n) => `0x${n.toString(16)}`);
  return `${what} is ${f}, not ${v} under mask ${m}`;
}

function listed(
  what: string,
  found: Uint8Array,
  admitted: readonly Uint8Array[],
): string | undefined {
  if (admitted.length === 0 || admitted.some((one) => equalBytes(one, found))) return undefined;
  return `${what} ${toHex(found)} is not among ${admitted.length} admitted`;
}

function equal(what: string, found: Uint8Array, asked: Uint8Array | undefined): string | undefined {
  if (asked === undefined || equalBytes(found, asked)) return undefined;
  return `${what} is ${toHex(found)}, not ${toHex(asked)}`;
}
