/**
 * TCB status (Intel PCS API v4; relaunch states: Intel's Quote Verification Library). The last two
 * come from comparing a TD 1.5 report with itself, never from collateral.
 */
export const tcbStatuses = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'TDRelaunchAdvised',
  'TDRelaunchAdvisedConfigurationNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const;

export type TcbStatus = (typeof tcbStatuses)[number];

/** True where collateral may say so. */
export function isTcbStatus(text: string): text is TcbStatus {
  return tcbStatuses.some((status) => status === text) && !text.startsWith('TDRelaunch');
}

/** Statuses that ask for another configuration of the platform. */
const configurationNeeded: ReadonlySet<TcbStatus> = new Set([
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDateConfigurationNeeded',
  'TDRelaunchAdvisedConfigurationNeeded',
]);

/** Statuses that say that something is old. */
const outOfDate: ReadonlySet<TcbStatus> = new Set(['OutOfDate', 'OutOfDateConfigurationNeeded']);

export function isConfigurationNeeded(status: TcbStatus): boolean {
  return configurationNeeded.has(status);
}

export function isOutOfDate(status: TcbStatus): boolean {
  return outOfDate.has(status);
}

/**
 * The worse of two statuses (Intel PCS API v4, convergence of TCB statuses): Revoked is terminal,
 * OutOfDate wins over everything else, a need of configuration stays.
 */
export function mergeStatus(platform: TcbStatus, other: TcbStatus): TcbStatus {
  if (platform === 'Revoked' || other === 'Revoked') return 'Revoked';
  const needsConfiguration = isConfigurationNeeded(platform) || isConfigurationNeeded(other);
  if (isOutOfDate(platform) || isOutOfDate(other)) {
    return needsConfiguration ? 'OutOfDateConfigurationNeeded' : 'OutOfDate';
  }
  if (needsConfiguration && needsHardening(platform, other)) {
    return 'ConfigurationAndSWHardeningNeeded';
  }
  return rank(other) > rank(platform) ? other : platform;
}

function needsHardening(...statuses: readonly TcbStatus[]): boolean {
  return statuses.some((status) => status.includes('SWHardeningNeeded'));
}

function rank(status: TcbStatus): number {
  return tcbStatuses.indexOf(status);
}
