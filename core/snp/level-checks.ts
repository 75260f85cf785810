import { equalBytes } from '../bytes.js';
import type { Check } from './check.js';
import type { FirmwareVersion } from './parse.js';
import { belowFloor, formatTcb } from './product.js';
import { firmwareBelow, type SnpLevel, type SnpRules, tcbFloorOf, tcbKinds } from './rules.js';

/** A level and the rules whose reference values it speaks of. */
export interface LevelAsked {
  readonly rules: SnpRules;
  readonly level: SnpLevel;
}

const claimOf = {
  reported: 'reportedTcb',
  committed: 'committedTcb',
  launch: 'launchTcb',
} as const;

const formatFirmware = ({ major, minor, build }: FirmwareVersion) => `${major}.${minor}.${build}`;

/** What one level asks. */
export const levelChecks: readonly Check<LevelAsked>[] = [
  ...tcbKinds.map(
    (kind): Check<LevelAsked> => ({
      name: `level.${claimOf[kind]}`,
      code: 'POLICY_TCB',
      fault: (claims, { level }) => {
        const floor = tcbFloorOf(level, claims.product, kind);
        const found = claims[claimOf[kind]];
        const component = floor && belowFloor(found, floor);
        if (floor === undefined || component === undefined) return undefined;
        return `${claimOf[kind]} (${formatTcb(found)}) is below ${component} ${floor[component]}`;
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
  {
    name: 'level.firmware',
    code: 'POLICY_TCB',
    fault: ({ report }, { level: { firmwareMin } }) => {
      if (firmwareMin === undefined) return undefined;
      // The host may go back from what runs to what is committed, no further.
      const versions = [report.currentFirmware, report.committedFirmware];
      if (!versions.some((version) => firmwareBelow(version, firmwareMin))) return undefined;
      const [running, committed] = versions.map(formatFirmware);
      return `firmware ${running} runs, ${committed} is committed, below ${formatFirmware(firmwareMin)}`;
    },
  },
];
