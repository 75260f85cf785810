import { join } from 'node:path';
import { stringify } from 'yaml';
import { fromHex, toHex } from '#core/bytes.js';
import {
  type PassportConfig,
  printPassport,
  printTpm,
  printTsm,
  readPassport,
  readTpm,
  readTsm,
  type TpmConfig,
  type TsmConfig,
} from './config-attester.js';
import { Section } from './config-section.js';

/** The disk whose encryption header the agent keeps. */
export interface DiskConfig {
  readonly path: string;
  readonly backend: 'auto' | 'luks' | 'volume';
  /** Size of a disk file that does not exist yet, MiB. */
  readonly sizeMib: number;
  /** Device-mapper name to open the disk under; undefined: prove the key, map nothing. */
  readonly mapperName: string | undefined;
}

/** Who gets the Security Key: the disk itself, one reader of a unix socket, or a file. */
export type DeliverConfig =
  | { readonly kind: 'disk' }
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string };

/** Backoff while the Key Server cannot be reached. */
export interface RetryConfig {
  readonly initialMs: number;
  readonly maxMs: number;
  /** After this the agent gives up; its init system may start it again. */
  readonly deadlineMs: number;
}

/** Everything that the agent is told. Whom it trusts is said by the config document alone. */
export interface AgentConfig {
  readonly keyServer: { readonly host: string; readonly port: number };
  readonly configDocumentFile: string;
  /** Reports of the hardware; beside a `tpm` only where its services vouch for that. */
  readonly tsm: TsmConfig | undefined;
  readonly tpm: TpmConfig | undefined;
  /** Whose Attestation Result is shown to the Key Server instead of evidence. */
  readonly ear: PassportConfig | undefined;
  readonly guestSocket: string | undefined;
  readonly disk: DiskConfig | undefined;
  /** KeyID (16 bytes) to re-allocate from on an unformatted disk, or to acquire without a disk. */
  readonly keyId: Uint8Array | undefined;
  readonly purpose: 'disk' | 'data';
  readonly deliver: DeliverConfig;
  readonly rekey: 'auto' | 'advise';
  /** What to do once the key is destroyed or taken over, or access is refused for good. */
  readonly onKeyLoss: 'stay' | 'exit';
  /** Program that is run with what happened to the key; undefined: none. */
  readonly noticeHook: string | undefined;
  /** How often the agent looks whether it was moved to another chip; 0: never. */
  readonly migrationCheckSeconds: number;
  /** Volatile folder for private copies of disk headers. */
  readonly stateDir: string;
  /** Keeps what Key Servers said of their logs, to hold them to it at the next boot. */
  readonly checkpointFile: string;
  /** PEM certificates that the Key Server's TLS certificate must chain to; undefined: not asked,
   *  because the Challenge signature and the TLS exporter identify the server. */
  readonly tlsCaFile: string | undefined;
  readonly retry: RetryConfig;
  /** Let stateDir and a delivered key file lie outside tmpfs. For simulated CVMs only. */
  readonly allowPersistentFiles: boolean;
}

const keyServerPattern = /^(\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/;

/**
 * Reads the text of a YAML config file (docs/operating.md).
 * @param folder what relative paths are relative to: the folder of the config file
 * @throws CvmpError CONFIG naming the entry
 */
export function parseAgentConfig(text: string, folder: string): AgentConfig {
  const root = Section.parse(text, folder);
  const disk = root.section('disk');
  const stateDir = root.path('state_dir', '/run/cvmp');
  const config: AgentConfig = {
    keyServer: readKeyServer(root),
    configDocumentFile: root.path('config_document_file'),
    tsm: readTsm(root.section('tsm')),
    tpm: readTpm(root.section('tpm')),
    ear: readPassport(root.section('ear')),
    guestSocket: root.optionalPath('guest_socket'),
    disk: disk === undefined ? undefined : readDisk(disk),
    keyId: readKeyId(root),
    purpose: root.choice('purpose', ['disk', 'data'], 'disk'),
    deliver: readDeliver(root.section('deliver')),
    rekey: root.choice('rekey', ['auto', 'advise'], 'auto'),
    onKeyLoss: root.choice('on_key_loss', ['stay', 'exit'], 'stay'),
    noticeHook: root.optionalPath('notice_hook'),
    // A report takes the processor some milliseconds.
    migrationCheckSeconds: root.integer('migration_check_seconds', 0, 86_400, 60),
    stateDir,
    checkpointFile: root.optionalPath('checkpoint_file') ?? join(stateDir, 'checkpoints'),
    tlsCaFile: root.optionalPath('tls_ca_file'),
    retry: readRetry(root.section('retry')),
    allowPersistentFiles:
      root.choice('allow_persistent_files', ['false', 'true'], 'false') === 'true',
  };
  root.end();
  if (config.deliver.kind === 'disk' && config.disk === undefined) {
    root.refuse('disk', 'is missing, and deliver.kind is disk');
  }
  if (config.tsm === undefined && config.tpm === undefined) {
    root.refuse('tsm', 'is missing, and so is tpm');
  }
  if (config.tsm !== undefined && config.tpm !== undefined && config.tsm.service === undefined) {
    root.refuse('tpm', 'beside tsm needs tsm.service: nothing else vouches for the TPM');
  }
  return deepFreeze(config);
}

/** The effective values, in the form of the config file. */
export function printAgentConfig(config: AgentConfig): string {
  const { host, port } = config.keyServer;
  return stringify({
    key_server_address: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    config_document_file: config.configDocumentFile,
    tsm: config.tsm && printTsm(config.tsm),
    tpm: config.tpm && printTpm(config.tpm),
    ear: config.ear && printPassport(config.ear),
    guest_socket: config.guestSocket,
    disk: config.disk && {
      path: config.disk.path,
      backend: config.disk.backend,
      size_mib: config.disk.sizeMib,
      mapper_name: config.disk.mapperName,
    },
    key_id: config.keyId && toHex(config.keyId),
    purpose: config.purpose,
    deliver: config.deliver,
    rekey: config.rekey,
    on_key_loss: config.onKeyLoss,
    notice_hook: config.noticeHook,
    migration_check_seconds: config.migrationCheckSeconds,
    state_dir: config.stateDir,
    checkpoint_file: config.checkpointFile,
    tls_ca_file: config.tlsCaFile,
    retry: {
      initial_ms: config.retry.initialMs,
      max_ms: config.retry.maxMs,
      deadline_ms: config.retry.deadlineMs,
    },
    allow_persistent_files: config.allowPersistentFiles,
  });
}

function readKeyServer(root: Section): AgentConfig['keyServer'] {
  const key = 'key_server_address';
  const match = keyServerPattern.exec(root.string(key));
  const port = Number(match?.[4]);
  if (match === null || port < 1 || port > 65535) return root.refuse(key, 'is not host:port');
  return { host: (match[2] ?? match[3])!, port };
}

function readDisk(disk: Section): DiskConfig {
  const mapperName = disk.has('mapper_name') ? disk.string('mapper_name') : undefined;
  if (mapperName !== undefined && !/^[A-Za-z0-9][A-Za-z0-9_.-]{0,126}$/.test(mapperName)) {
    disk.refuse('mapper_name', 'is not a device-mapper name');
  }
  const value: DiskConfig = {
    path: disk.path('path'),
    backend: disk.choice('backend', ['auto', 'luks', 'volume'], 'auto'),
    sizeMib: disk.integer('size_mib', 8, 1 << 20, 64),
    mapperName,
  };
  disk.end();
  return value;
}

function readKeyId(root: Section): Uint8Array | undefined {
  if (!root.has('key_id')) return undefined;
  const text = root.string('key_id');
  if (!/^[0-9a-fA-F]{32}$/.test(text)) return root.refuse('key_id', 'is not 32 hex digits');
  return fromHex(text);
}

function readDeliver(deliver: Section | undefined): DeliverConfig {
  if (deliver === undefined) return { kind: 'disk' };
  const kind = deliver.choice('kind', ['disk', 'socket', 'file'], 'disk');
  const value = kind === 'disk' ? { kind } : { kind, path: deliver.path('path') };
  deliver.end();
  return value;
}

function readRetry(retry: Section | undefined): RetryConfig {
  // A restarted Key Server is met again within half a minute; a dead one costs little to ask.
  const value: RetryConfig = {
    initialMs: retry?.integer('initial_ms', 1, 60_000, 500) ?? 500,
    maxMs: retry?.integer('max_ms', 1, 3_600_000, 30_000) ?? 30_000,
    deadlineMs: retry?.integer('deadline_ms', 0, 86_400_000, 3_600_000) ?? 3_600_000,
  };
  retry?.end();
  return value;
}

function deepFreeze<T extends object>(value: T): T {
  for (const child of Object.values(value)) {
    // Bytes cannot be frozen (ECMA-262 s.10.4.5); nobody writes to them.
    if (typeof child === 'object' && child !== null && !ArrayBuffer.isView(child)) {
      deepFreeze(child);
    }
  }
  return Object.freeze(value);
}
