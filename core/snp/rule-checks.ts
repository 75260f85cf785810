import { concat, equalBytes, isZero, toHex } from '../bytes.js';
import { type Check, flagChecks, unequal, unlisted } from './check.js';
import { cpuidVersion, guestPolicyBits, platformInfoBits } from './layout.js';
import type { SnpReport } from './parse.js';
import { tcbComponents } from './product.js';
import type { SnpRules } from './rules.js';

/** What was launched, and where in it the report comes from. */
const launchChecks: readonly Check<SnpRules>[] = [
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
];

/** On which processor, and whose word that is. */
const chipChecks: readonly Check<SnpRules>[] = [
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
    name: 'product-deny',
    code: 'POLICY_CHIP',
    fault: ({ product }, { productsDeny }) =>
      productsDeny.includes(product) ? `${product} is refused` : undefined,
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
    name: 'csp',
    code: 'POLICY_CHIP',
    fault: ({ signingKey, cspId }, { cspIds }) =>
      signingKey === 'VCEK' || (cspId !== undefined && cspIds.includes(cspId))
        ? undefined
        : `signed by the VLEK of ${cspId ?? 'nobody'}, which is not admitted`,
  },
  {
    name: 'revocation',
    code: 'COLLATERAL_STALE',
    fault: ({ revocation }, { requireCrl, crlAgeSecondsMax }) => {
      if (!requireCrl && crlAgeSecondsMax === 0) return undefined;
      if (revocation === undefined) return 'no revocation list of the root is at hand';
      const age = Math.ceil((revocation.checkedAt - revocation.thisUpdate) / 1000);
      return crlAgeSecondsMax === 0 || age <= crlAgeSecondsMax
        ? undefined
        : `the revocation list is ${age} seconds old, more than ${crlAgeSecondsMax}`;
    },
  },
];

/** What the guest and the platform permit. */
const configurationChecks: readonly Check<SnpRules>[] = [
  ...flagChecks<SnpRules>('guest-policy', guestPolicyBits, ({ report }, rules) => ({
    found: report.guestPolicy,
    mask: rules.guestPolicyMask,
    value: rules.guestPolicyValue,
  })),
  {
    name: 'guest-abi',
    code: 'POLICY_GUEST',
    fault: ({ report }, { guestAbiMin }) => {
      if (guestAbiMin === undefined) return undefined;
      const minor = Number(report.guestPolicy & 0xffn);
      const major = Number((report.guestPolicy >> 8n) & 0xffn);
      const reaches =
        major > guestAbiMin.major || (major === guestAbiMin.major && minor >= guestAbiMin.minor);
      if (reaches) return undefined;
      const asked = `${guestAbiMin.major}.${guestAbiMin.minor}`;
      return `the guest policy lets firmware of ABI ${major}.${minor} launch it, below ${asked}`;
    },
  },
  {
    name: 'alias-check',
    code: 'POLICY_GUEST',
    fault: ({ report }, { allowNoAliasCheck }) =>
      allowNoAliasCheck || (report.platformInfo & platformInfoBits.ALIAS_CHECK_COMPLETE) !== 0n
        ? undefined
        : 'ALIAS_CHECK_COMPLETE is not set: memory may be reached under two addresses',
  },
  ...flagChecks<SnpRules>('platform-info', platformInfoBits, ({ report }, rules) => ({
    found: report.platformInfo,
    mask: rules.platformInfoMask,
    value: rules.platformInfoValue,
  })),
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
];

/** Who signed for the guest, and under which names. */
const identityChecks: readonly Check<SnpRules>[] = [
  {
    name: 'id-key',
    code: 'POLICY_GUEST',
    fault: ({ report }, { idKeyDigests }) =>
      unlisted('ID_KEY_DIGEST', report.idKeyDigest, idKeyDigests),
  },
  {
    name: 'author-key',
    code: 'POLICY_GUEST',
    fault: ({ report }, { authorKeyDigests }) => {
      if (authorKeyDigests.length === 0) return undefined;
      if (!report.keyInfo.authorKeyEn) return 'AUTHOR_KEY_EN is not set: there is no author key';
      return unlisted('AUTHOR_KEY_DIGEST', report.authorKeyDigest, authorKeyDigests);
    },
  },
  {
    name: 'id-block',
    code: 'POLICY_GUEST',
    fault: ({ report }, { idBlocks }) =>
      idBlocks.length === 0 || idBlocks.some((block) => isOfIdBlock(report, block))
        ? undefined
        : `the guest was launched with none of ${idBlocks.length} admitted ID blocks`,
  },
  {
    name: 'family-id',
    code: 'POLICY_GUEST',
    fault: ({ report }, { familyId }) => unequal('FAMILY_ID', report.familyId, familyId),
  },
  {
    name: 'image-id',
    code: 'POLICY_GUEST',
    fault: ({ report }, { imageId }) => unequal('IMAGE_ID', report.imageId, imageId),
  },
];

const firmwareChecks: readonly Check<SnpRules>[] = [
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

/** Every rule of a policy. */
export const ruleChecks: readonly Check<SnpRules>[] = [
  ...launchChecks,
  ...chipChecks,
  ...configurationChecks,
  ...identityChecks,
  ...firmwareChecks,
];

/** Ids of 8 bytes are Turin's, which CHIP_ID holds before zeros. Never a prefix match. */
function isListed(chips: readonly Uint8Array[], chipId: Uint8Array): boolean {
  return chips.some((chip) => {
    const padded = concat(chip, new Uint8Array(Math.max(0, chipId.length - chip.length)));
    return !isZero(chipId) && equalBytes(padded, chipId);
  });
}

/** A guest without an ID block shows zeros where one with a block shows its key. */
function isOfIdBlock(report: SnpReport, block: SnpRules['idBlocks'][number]): boolean {
  return (
    !isZero(report.idKeyDigest) &&
    equalBytes(report.measurement, block.measurement) &&
    equalBytes(report.familyId, block.familyId) &&
    equalBytes(report.imageId, block.imageId) &&
    report.guestSvn === block.guestSvn &&
    report.guestPolicy === block.guestPolicy
  );
}
