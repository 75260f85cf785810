import { configPcr } from '#core/tpm/measurements.js';
import { defaultBootRules } from '#core/tpm/rules.js';
import type { Section } from './config-section.js';

/** Guest modules that make reports. */
export type TsmProvider = 'sev_guest' | 'tdx_guest' | 'arm_cca_guest';

/** Where attestation reports come from: a TSM interface in configfs, or one behind a socket. */
export interface TsmConfig {
  readonly kind: 'configfs' | 'socket';
  /** Report folder of configfs-tsm, or the unix socket of a simulated one. */
  readonly path: string;
  /** The only provider that may answer; undefined: whichever is there. */
  readonly provider: TsmProvider | undefined;
  /** VMPL to ask for, 0 to 3; undefined: the provider's default. */
  readonly privlevel: number | undefined;
  /** Have the SVSM attest its services; undefined: a report of the guest itself. */
  readonly service:
    | { readonly guid: string | undefined; readonly manifestVersion: number }
    | undefined;
  /** CC event log of a TD. */
  readonly eventLogFile: string;
}

/** Whose TPM it is: that says which keys and certificates it holds. */
export type TpmPlatform = 'generic' | 'azure' | 'google';

/** A TPM or vTPM. */
export interface TpmConfig {
  /** How tpm2-tools reach it (TPM2TOOLS_TCTI). */
  readonly tcti: string;
  /** undefined: what its NV indices say. */
  readonly platform: TpmPlatform | undefined;
  /** Persistent handle of the AK, which is made there where it is missing. */
  readonly akHandle: number;
  readonly bank: 'sha256' | 'sha384';
  /** PCRs to quote, ascending. */
  readonly pcrs: readonly number[];
  /** TCG event log of the firmware. */
  readonly eventLogFile: string;
  /** What systemd extended into PCRs after the firmware. */
  readonly measureLogFile: string;
  /** Instance metadata service of Azure, which certifies reports. */
  readonly imdsUrl: string;
}

/** An external verifier whose Attestation Result is shown instead of evidence. */
export interface PassportConfig {
  readonly target:
    | { readonly kind: 'program'; readonly path: string }
    | { readonly kind: 'url'; readonly url: string };
  readonly deadlineMs: number;
  /** How long a result serves further sessions; 0: a fresh one for each. */
  readonly reuseMs: number;
}

const providers = ['any', 'sev_guest', 'tdx_guest', 'arm_cca_guest'] as const;
const platforms = ['auto', 'generic', 'azure', 'google'] as const;
const guidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Of the owner, where no other software is known to keep a key. */
const akHandleDefault = '0x81018200';

/** @throws CvmpError CONFIG naming the entry */
export function readTsm(tsm: Section | undefined): TsmConfig | undefined {
  if (tsm === undefined) return undefined;
  const socket = tsm.optionalPath('socket');
  const configfs = tsm.optionalPath('configfs');
  const provider = tsm.choice('provider', providers, 'any');
  const value: TsmConfig = {
    kind: socket === undefined ? 'configfs' : 'socket',
    path: socket ?? configfs ?? '',
    provider: provider === 'any' ? undefined : provider,
    privlevel: tsm.has('privlevel') ? tsm.integer('privlevel', 0, 3) : undefined,
    service: readService(tsm),
    eventLogFile: tsm.path('event_log_file', '/sys/firmware/acpi/tables/data/CCEL'),
  };
  tsm.end();
  if ((socket === undefined) === (configfs === undefined)) {
    tsm.refuse('', 'needs one of socket, configfs');
  }
  return value;
}

function readService(tsm: Section): TsmConfig['service'] {
  const isSvsm = tsm.choice('service', ['none', 'svsm'], 'none') === 'svsm';
  const guid = tsm.has('service_guid') ? tsm.string('service_guid') : undefined;
  const manifestVersion = tsm.integer('service_manifest_version', 0, 2 ** 31 - 1, 0);
  if (guid !== undefined && !guidPattern.test(guid)) {
    tsm.refuse('service_guid', 'is not a GUID in lower case');
  }
  return isSvsm ? { guid, manifestVersion } : undefined;
}

/** @throws CvmpError CONFIG naming the entry */
export function readTpm(tpm: Section | undefined): TpmConfig | undefined {
  if (tpm === undefined) return undefined;
  const socket = tpm.optionalPath('swtpm_socket');
  const device = tpm.path('device', '/dev/tpmrm0');
  const platform = tpm.choice('platform', platforms, 'auto');
  const value: TpmConfig = {
    tcti: socket === undefined ? `device:${device}` : `swtpm:path=${socket}`,
    platform: platform === 'auto' ? undefined : platform,
    akHandle: readHandle(tpm, 'ak_handle', akHandleDefault),
    bank: tpm.choice('bank', ['sha256', 'sha384'], 'sha256'),
    pcrs: tpm.integers('pcrs', 0, 23, defaultBootRules.pcrs),
    eventLogFile: tpm.path('event_log_file', '/sys/kernel/security/tpm0/binary_bios_measurements'),
    measureLogFile: tpm.path('measure_log_file', '/run/log/systemd/tpm2-measure.log'),
    imdsUrl: readUrl(tpm, 'imds_url', 'http://169.254.169.254'),
  };
  tpm.end();
  if (!value.pcrs.includes(configPcr)) {
    tpm.refuse('pcrs', `lacks ${configPcr}, which holds the config document`);
  }
  return value;
}

/** @throws CvmpError CONFIG naming the entry */
export function readPassport(ear: Section | undefined): PassportConfig | undefined {
  if (ear === undefined) return undefined;
  const path = ear.optionalPath('program');
  const url = ear.has('url') ? ear.string('url') : undefined;
  const deadlineMs = ear.integer('deadline_ms', 100, 600_000, 20_000);
  const reuseMs = 1000 * ear.integer('reuse_seconds', 0, 86_400, 0);
  ear.end();
  if (url !== undefined && !(/^https?:\/\//.test(url) && URL.canParse(url))) {
    ear.refuse('url', 'is no URL of http or https');
  }
  if (path !== undefined && url === undefined) {
    return { target: { kind: 'program', path }, deadlineMs, reuseMs };
  }
  if (path === undefined && url !== undefined)
    return { target: { kind: 'url', url }, deadlineMs, reuseMs };
  return ear.refuse('', 'needs one of program, url');
}

/** The effective values, as {@link readPassport} takes them. */
export function printPassport({ target, deadlineMs, reuseMs }: PassportConfig): object {
  return {
    ...(target.kind === 'program' ? { program: target.path } : { url: target.url }),
    deadline_ms: deadlineMs,
    reuse_seconds: reuseMs / 1000,
  };
}

function readHandle(tpm: Section, key: string, fallback: string): number {
  const text = tpm.string(key, fallback);
  return /^0x81[0-9a-fA-F]{6}$/.test(text)
    ? Number(text)
    : tpm.refuse(key, 'is not a persistent handle 0x81......');
}

function readUrl(tpm: Section, key: string, fallback: string): string {
  const text = tpm.string(key, fallback);
  return /^https?:\/\/[^/?#@]+$/.test(text) && URL.canParse(text)
    ? text
    : tpm.refuse(key, 'is not a URL without path');
}

/** The effective values, as {@link readTsm} takes them. */
export function printTsm(tsm: TsmConfig): object {
  return {
    [tsm.kind]: tsm.path,
    provider: tsm.provider ?? 'any',
    privlevel: tsm.privlevel,
    service: tsm.service === undefined ? 'none' : 'svsm',
    service_guid: tsm.service?.guid,
    service_manifest_version: tsm.service?.manifestVersion,
    event_log_file: tsm.eventLogFile,
  };
}

/** The effective values, as {@link readTpm} takes them. */
export function printTpm(tpm: TpmConfig): object {
  const [, kind, path] = /^(device:|swtpm:path=)(.*)$/.exec(tpm.tcti) ?? [];
  return {
    [kind === 'device:' ? 'device' : 'swtpm_socket']: path,
    platform: tpm.platform ?? 'auto',
    ak_handle: `0x${tpm.akHandle.toString(16)}`,
    bank: tpm.bank,
    pcrs: tpm.pcrs,
    event_log_file: tpm.eventLogFile,
    measure_log_file: tpm.measureLogFile,
    imds_url: tpm.imdsUrl,
  };
}
