import { equalBytes, isZero, toHex } from '../bytes.js';
import type { FailedCheck } from '../rats/attestation-result.js';
import { type Check, failed } from '../rats/checks.js';
import type { TdxClaims } from './claims.js';
import { tdAttribute, tdAttributesKnown, tdUnderDebug, xfamAllowed, xfamFixed1 } from './layout.js';
import { moduleFloor, type TdxLevel, type TdxReference, type TdxRules } from './rules.js';

/** One check of verified claims: says what is wrong, or nothing. */
/** Refused whatever a policy says (protocol.md s.0.7, s.3.3). */
const denials: readonly Check<TdxClaims, undefined>[] = [
  {
    name: 'td-attributes.debug',
    code: 'POLICY_DEBUG',
    fault: ({ quote: { td } }) =>
      (td.tdAttributes & tdUnderDebug) === 0n
        ? undefined
        : `the TD runs under debug (TDATTRIBUTES ${hex(td.tdAttributes)}): the host can read it`,
  },
  {
    name: 'td-attributes.reserved',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }) =>
      (td.tdAttributes & ~(tdAttributesKnown | tdUnderDebug)) === 0n
        ? undefined
        : `TDATTRIBUTES ${hex(td.tdAttributes)} has bits of unknown meaning`,
  },
  {
    name: 'xfam.fixed',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }) =>
      (td.xfam & xfamFixed1) === xfamFixed1 && (td.xfam & ~xfamAllowed) === 0n
        ? undefined
        : `XFAM ${hex(td.xfam)} is none that a TD can have`,
  },
];

/** Rules of a policy, in the order of protocol.md s.3.3. */
const rules: readonly Check<TdxClaims, TdxRules>[] = [
  {
    name: 'measurement',
    code: 'POLICY_MEASUREMENT',
    fault: (claims, { references }) => {
      const { td } = claims.quote;
      if (matching(claims, references).length > 0) return undefined;
      const isLaunch = references.some(({ mrTd }) => equalBytes(mrTd, td.mrTd));
      const found = isLaunch ? td.rtmr.map(toHex).join(', ') : toHex(td.mrTd);
      const what = isLaunch ? 'RTMR0 to RTMR3 are' : 'MRTD is';
      return `${what} ${found}, not among ${references.length} admitted`;
    },
  },
  {
    name: 'rtmrs-explained',
    code: 'EVENT_LOG_MISMATCH',
    fault: ({ measurements: { explained } }, { rtmrsExplained }) => {
      const open = rtmrsExplained.filter((rtmr) => !explained.has(rtmr));
      return open.length === 0 ? undefined : `nothing explains RTMR ${open.join(', ')}`;
    },
  },
  {
    name: 'secure-boot',
    code: 'POLICY_SECURE_BOOT',
    fault: ({ measurements: { secureBoot } }, { requireSecureBoot }) => {
      if (!requireSecureBoot) return undefined;
      if (secureBoot.state === 'unknown') return secureBoot.why;
      return secureBoot.state === 'enabled' ? undefined : 'Secure Boot is off';
    },
  },
  {
    name: 'tcb-status',
    code: 'POLICY_TCB',
    fault: ({ tcb: { status } }, { statuses }) =>
      isRelaunch(status) || status === 'UpToDate' || statuses.includes(status)
        ? undefined
        : `the TCB is ${status}`,
  },
  {
    name: 'relaunch',
    code: 'RELAUNCH_ADVISED',
    fault: ({ tcb: { status } }, { statuses }) =>
      !isRelaunch(status) || statuses.includes(status)
        ? undefined
        : 'the TD was launched under an older TDX module than the one that is loaded now',
  },
  {
    name: 'advisories',
    code: 'POLICY_ADVISORY',
    fault: ({ tcb, evaluatedAt }, { advisoriesAccepted, advisoriesDenied }) => {
      const denied = tcb.advisoryIds.filter((id) => advisoriesDenied.includes(id));
      if (denied.length > 0) return `refused advisories are open: ${denied.join(', ')}`;
      if (tcb.status === 'UpToDate') return undefined;
      const open = tcb.advisoryIds.filter(
        (id) =>
          !advisoriesAccepted.some(
            (row) => row.id === id && (row.until === undefined || evaluatedAt <= row.until),
          ),
      );
      return open.length === 0 ? undefined : `advisories are open: ${open.join(', ')}`;
    },
  },
  {
    name: 'td-attributes.sept-ve-disable',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }, { allowSeptVe }) =>
      allowSeptVe || (td.tdAttributes & tdAttribute.septVeDisable) !== 0n
        ? undefined
        : 'SEPT_VE_DISABLE is clear: the host can confuse the guest by taking pages away',
  },
  {
    name: 'td-attributes',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }, { tdAttributesMask, tdAttributesValue }) =>
      masked('TDATTRIBUTES', td.tdAttributes, tdAttributesMask, tdAttributesValue),
  },
  {
    name: 'xfam',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }, { xfamMask, xfamValue }) =>
      masked('XFAM', td.xfam, xfamMask, xfamValue),
  },
  {
    name: 'migration',
    code: 'POLICY_MIGRATION',
    fault: ({ quote: { td } }, { serviceTds }) => {
      const service = td.mrServiceTd;
      const isBound = service !== undefined && !isZero(service);
      if (isBound && !isListed(serviceTds, service)) {
        return `service TD ${toHex(service)} is not admitted`;
      }
      const isMigratable = (td.tdAttributes & tdAttribute.migratable) !== 0n;
      return isMigratable && !isBound
        ? 'MIGRATABLE is set and no admitted service TD decides where to'
        : undefined;
    },
  },
  {
    name: 'mrowner',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }, { mrOwner }) => equal('MROWNER', td.mrOwner, mrOwner),
  },
  {
    name: 'mrownerconfig',
    code: 'POLICY_GUEST',
    fault: ({ quote: { td } }, { mrOwnerConfig }) =>
      equal('MROWNERCONFIG', td.mrOwnerConfig, mrOwnerConfig),
  },
  {
    name: 'module',
    code: 'POLICY_MEASUREMENT',
    fault: ({ quote: { td } }, { modules }) =>
      modules.length === 0 || isListed(modules, td.mrSeam)
        ? undefined
        : `MRSEAM ${toHex(td.mrSeam)} is not among ${modules.length} admitted`,
  },
  {
    name: 'platform-allow',
    code: 'POLICY_CHIP',
    fault: ({ platform: { ppid } }, { platformAllow }) =>
      platformAllow.length === 0 || isListed(platformAllow, ppid)
        ? undefined
        : `PPID ${toHex(ppid)} is not among ${platformAllow.length} admitted`,
  },
  {
    name: 'platform-deny',
    code: 'POLICY_CHIP',
    fault: ({ platform: { ppid } }, { platformDeny }) =>
      isListed(platformDeny, ppid) ? `PPID ${toHex(ppid)} is refused` : undefined,
  },
  {
    name: 'family-allow',
    code: 'POLICY_CHIP',
    fault: ({ platform: { fmspc } }, { familyAllow }) =>
      familyAllow.length === 0 || isListed(familyAllow, fmspc)
        ? undefined
        : `FMSPC ${toHex(fmspc)} is not among ${familyAllow.length} admitted`,
  },
  {
    name: 'family-deny',
    code: 'POLICY_CHIP',
    fault: ({ platform: { fmspc } }, { familyDeny }) =>
      isListed(familyDeny, fmspc) ? `FMSPC ${toHex(fmspc)} is refused` : undefined,
  },
];

interface LevelAsked {
  readonly rules: TdxRules;
  readonly level: TdxLevel;
}

/** What one level asks. */
const levelChecks: readonly Check<TdxClaims, LevelAsked>[] = [
  {
    name: 'level.tcb-status',
    code: 'POLICY_TCB',
    fault: ({ tcb: { status } }, { level: { statuses } }) =>
      statuses.length === 0 || statuses.includes(status) ? undefined : `the TCB is ${status}`,
  },
  {
    name: 'level.tcb-date',
    code: 'POLICY_TCB',
    fault: ({ tcb }, { level: { tcbDateMin } }) => {
      const date = tcb.tcbDate ?? 0;
      if (date >= tcbDateMin) return undefined;
      const [found, asked] = [date, tcbDateMin].map((t) => new Date(t).toISOString());
      return `the TCB is of ${found}, older than ${asked}`;
    },
  },
  {
    name: 'level.evaluation-number',
    code: 'POLICY_TCB',
    fault: ({ tcb: { evaluationNumber } }, { level: { evaluationNumberMin } }) =>
      evaluationNumber >= evaluationNumberMin
        ? undefined
        : `collateral is of TCB evaluation ${evaluationNumber}, below ${evaluationNumberMin}`,
  },
  {
    name: 'level.module',
    code: 'POLICY_TCB',
    fault: ({ quote: { td } }, { level }) => {
      // The TD is of the module that it was launched under, whatever is loaded now.
      const [svn, version] = [td.teeTcbSvn[0]!, td.teeTcbSvn[1]!];
      const floor = moduleFloor([level], version);
      return svn >= floor ? undefined : `the TDX module ${version} has SVN ${svn}, below ${floor}`;
    },
  },
  {
    name: 'level.advisories',
    code: 'POLICY_ADVISORY',
    fault: ({ tcb: { advisoryIds } }, { level: { advisoriesClosed = [] } }) => {
      const open = advisoriesClosed.filter((id) => advisoryIds.includes(id));
      return open.length === 0 ? undefined : `advisories are open: ${open.join(', ')}`;
    },
  },
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
export function deny(claims: TdxClaims): readonly FailedCheck[] {
  return failed('tdx', denials, claims, undefined);
}

/** Every rule that the claims break. */
export function appraise(claims: TdxClaims, asked: TdxRules): readonly FailedCheck[] {
  return failed('tdx', rules, claims, asked);
}

/** Everything that the claims lack for this level. */
export function lacks(claims: TdxClaims, asked: TdxRules, level: TdxLevel): readonly FailedCheck[] {
  return failed('tdx', levelChecks, claims, { rules: asked, level });
}

/** References whose MRTD and stated registers are those of the quote. */
function matching(
  { quote: { td } }: TdxClaims,
  references: readonly TdxReference[],
): readonly TdxReference[] {
  return references.filter(
    ({ mrTd, rtmr }) =>
      equalBytes(mrTd, td.mrTd) &&
      td.rtmr.every((found, i) => {
        const asked = rtmr[i];
        return asked === undefined || equalBytes(asked, found);
      }),
  );
}

function isRelaunch(status: string): boolean {
  return status.startsWith('TDRelaunch');
}

function isListed(list: readonly Uint8Array[], found: Uint8Array): boolean {
  return list.some((one) => equalBytes(one, found));
}

function masked(what: string, found: bigint, mask: bigint, value: bigint): string | undefined {
  if ((found & mask) === (value & mask)) return undefined;
  return `${what} is ${hex(found)}, not ${hex(value & mask)} under mask ${hex(mask)}`;
}

function equal(what: string, found: Uint8Array, asked: Uint8Array | undefined): string | undefined {
  if (asked === undefined || equalBytes(found, asked)) return undefined;
  return `${what} is ${toHex(found)}, not ${toHex(asked)}`;
}

function hex(word: bigint): string {
  return `0x${word.toString(16)}`;
}
