import type { ConfigReader } from '#server/host/config/reader.js';
import { type HostSettings, readHostSettings } from '#server/host/config/settings.js';
import { type EndorsementSettings, readEndorsementSettings } from './endorsements/settings.js';
import type { EvidenceLimits } from './log/evidence.js';
import { type MasterKeySettings, readMasterKeySettings } from './sealing/settings.js';
import type { SessionLimits } from './session/stream.js';
import { type QuotaSettings, readQuotas } from './tenants/quotas.js';

/** What the Key Server's configuration file says. Paths are absolute. */
export interface KeyServerSettings {
  readonly host: HostSettings;
  readonly store: {
    /** Folder of the LevelDB. */
    readonly folder: string;
    /** Remembers how far the store had come. */
    readonly headFile: string;
    /** Key encryption keys and erase keys. */
    readonly vaultFolder: string;
    readonly masterKey: MasterKeySettings;
  };
  /** Where init writes the public identity key (COSE_Key, base64url). */
  readonly identityKeyFile: string;
  /** Where the running server answers its operator. */
  readonly operatorSocket: { readonly path: string };
  readonly verifier: {
    /** Root certificates that are trusted beside the vendors'; evidence under them is simulated. */
    readonly trustAnchorFiles: readonly string[];
    /** Root certificates of makers of TPMs whose TPMs are taken for real. */
    readonly tpmRootFiles: readonly string[];
    /** Certificates, revocation lists and other statements for agents that bring none along. */
    readonly endorsementFiles: readonly string[];
  };
  readonly endorsements: EndorsementSettings;
  readonly session: SessionLimits;
  readonly quotas: QuotaSettings;
  /** What of evidence is kept for `cvmp audit explain`. */
  readonly audit: EvidenceLimits;
}

/** @throws CvmpError CONFIG naming the entry */
export function readKeyServerSettings(config: ConfigReader): KeyServerSettings {
  return {
    host: readHostSettings(config, {
      name: 'key-server',
      grpcPort: 7443,
      webPort: 7480,
      metricsPort: 7490,
      messageBytesMax: 2 * 1024 * 1024,
    }),
    store: config.section('store', (store) => ({
      folder: store.path('folder', { default: 'store', why: 'beside this file' }),
      headFile: store.path('head_file', {
        default: 'store.head',
        why: 'beside this file; on another disk it also notices a store that was set back',
      }),
      vaultFolder: store.path('vault_folder', {
        default: 'store.vault',
        why: 'beside this file; never in a backup of the store, or destroyed keys come back with it',
      }),
      masterKey: store.section('master_key', readMasterKeySettings),
    })),
    identityKeyFile: config.path('identity_key_file', {
      default: 'identity.pub',
      why: 'beside this file; tenants put it into their profiles and config documents',
    }),
    operatorSocket: config.section('operator_socket', (socket) => ({
      path: socket.path('path', {
        default: 'operator.sock',
        why: 'beside this file; under systemd put it into the RuntimeDirectory',
      }),
    })),
    verifier: config.section('verifier', (verifier) => ({
      trustAnchorFiles: verifier.paths('trust_anchor_files', {
        max: 64,
        default: [],
        why: 'the roots of AMD, Intel and Google are pinned in the code; nothing else is trusted',
        live: true,
      }),
      tpmRootFiles: verifier.paths('tpm_root_files', {
        max: 64,
        default: [],
        why: 'makers of TPMs are too many to be pinned; name those of your machines',
        live: true,
      }),
      endorsementFiles: verifier.paths('endorsement_files', {
        max: 64,
        default: [],
        why: 'agents bring their certificates along',
        live: true,
      }),
    })),
    endorsements: config.section('endorsements', readEndorsementSettings),
    session: config.section('session', readSessionLimits),
    quotas: config.section('quotas', readQuotas),
    audit: config.section('audit', readEvidenceLimits),
  };
}

function readEvidenceLimits(audit: ConfigReader): EvidenceLimits {
  return {
    bytesMax: audit.integer('evidence_bytes_max', {
      min: 0,
      max: 1_048_576,
      default: 262_144,
      why: 'evidence has some kB, with event logs up to 200; of larger the digest is kept',
      live: true,
    }),
    days: audit.integer('evidence_days', {
      min: 0,
      max: 3650,
      default: 30,
      why: 'long enough to ask why; 0 keeps none, and decisions cannot be appraised again',
      live: true,
    }),
  };
}

function readSessionLimits(session: ConfigReader): SessionLimits {
  return {
    handshakeSeconds: session.integer('handshake_seconds', {
      min: 1,
      max: 600,
      default: 60,
      why: 'security processors take seconds when many guests ask at once',
      live: true,
    }),
    challengeSeconds: session.integer('challenge_seconds', {
      min: 1,
      max: 600,
      default: 60,
      why: 'as long as a handshake may take',
      live: true,
    }),
    idleSeconds: session.integer('idle_seconds', {
      min: 1,
      max: 86400,
      default: 600,
      why: 'after the lease; an agent that comes back attests again within milliseconds',
      live: true,
    }),
    inFlightMax: session.integer('in_flight_max', {
      min: 1,
      max: 1024,
      default: 64,
      why: 'more in flight gains nothing, measured (npm run bench)',
      live: true,
    }),
    sessionsMax: session.integer('sessions_max', {
      min: 1,
      max: 1_000_000,
      default: 10_000,
      why: 'each holds keys and buffers of some kB',
      live: true,
    }),
    attestationsPerHourMax: session.integer('attestations_per_hour_max', {
      min: 1,
      max: 100_000,
      default: 120,
      why: 'an agent needs a few a day; each costs the server milliseconds',
      live: true,
    }),
  };
}
