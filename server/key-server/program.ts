import type { Logger } from 'pino';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { crypto } from '#crypto';
import { accessService } from '#server/host/callers/access-service.js';
import { tenantService } from '#server/host/callers/tenants.js';
import {
  createTls,
  publicKeyLine,
  readNamedFile,
  writeNewFile,
} from '#server/host/config/files.js';
import { hostOptions, liveHostOptions, openLog } from '#server/host/config/settings.js';
import { gated } from '#server/host/handlers.js';
import { type Host, startHost } from '#server/host/host.js';
import { type LocalSocket, listenLocal } from '#server/host/local-socket.js';
import { createLog, logField } from '#server/host/log.js';
import { createObservation, type Observation } from '#server/host/observe/observation.js';
import type { Control, InitOptions, Program, Running } from '#server/host/program.js';
import { auditService } from './audit-service.js';
import { type KeyServerSettings, readKeyServerSettings } from './config.js';
import { systemClock } from './endorsements/clock.js';
import { endorsementCommands } from './endorsements/commands.js';
import { openEndorsements } from './endorsements/open.js';
import { follow } from './following.js';
import { keyAdminService } from './key-admin-service.js';
import { keyService } from './key-service.js';
import type { Rollback } from './log/rollback.js';
import { KeyServerMetrics } from './metrics.js';
import { operatorCommands } from './operator/commands.js';
import { operatorService } from './operator/service.js';
import { policyService } from './policy-service.js';
import type { KeyServerState } from './release/contract.js';
import { initState, openState } from './release/open.js';
import type { SessionLimits } from './session/stream.js';
import { createMasterKeyFile, readMasterKeyFile } from './store/master-key.js';
import { tenantFacts } from './tenants/facts.js';
import { upkeepCommands } from './upkeep/commands.js';
import { trustAnchors } from './verifier/anchors.js';
import { Verifier, type VerifierOptions } from './verifier/attest.js';
import { heldEndorsements } from './verifier/held.js';
import type { NamedFile } from './verifier/named-file.js';

/** `cvmp-key-server`. @param now milliseconds since the epoch */
export function keyServer(now: () => number): Program<KeyServerSettings> {
  return {
    name: 'cvmp-key-server',
    read: readKeyServerSettings,
    init: (settings, options) => init(settings, options, now),
    serve: (settings, control) => serve(settings, control, now),
    commands: {
      ...operatorCommands((settings) => settings.operatorSocket.path),
      ...upkeepCommands(({ store: { masterKeyFile, ...place } }: KeyServerSettings) => ({
        ...place,
        masterKey: readMasterKeyFile(masterKeyFile),
        now,
        randomBytes: crypto.randomBytes,
      })),
      ...endorsementCommands((settings) => ({
        settings: settings.endorsements,
        anchors: anchorsOf(settings),
        clock: systemClock(now, true),
        random: Math.random,
        log: createLog(settings.host.name, 'silent'),
      })),
    },
  };
}

/** Nothing that exists is overwritten. @throws CvmpError ALREADY_EXISTS, CONFIG, USAGE */
async function init(
  settings: KeyServerSettings,
  { selfSignedNames }: InitOptions,
  now: () => number,
): Promise<readonly string[]> {
  const { randomBytes } = crypto;
  const { folder, headFile, vaultFolder, masterKeyFile } = settings.store;
  createMasterKeyFile(masterKeyFile, randomBytes);
  const masterKey = readMasterKeyFile(masterKeyFile);
  const options = { headFile, vaultFolder, masterKey, now, randomBytes };
  await initState(folder, options);
  const state = await openState(folder, options);
  const identity = ecPublicKey(state.identity.curve, state.identity.publicPoint);
  await state.close();
  const lines = [`store: ${folder}`, `vault: ${vaultFolder}`, `master key: ${masterKeyFile}`];
  if (selfSignedNames.length > 0) {
    await createTls(settings.host.tls, selfSignedNames, now());
    lines.push(`certificate: ${settings.host.tls.certificateFile}`);
  }
  writeNewFile(settings.identityKeyFile, publicKeyLine(identity), 0o644);
  lines.push(`identity key: ${settings.identityKeyFile}`);
  lines.push(`identity thumbprint: ${toHex(thumbprint(identity))}`);
  return lines;
}

async function serve(
  settings: KeyServerSettings,
  { reload }: Control,
  now: () => number,
): Promise<Running<KeyServerSettings>> {
  const log = openLog(settings.host, now);
  let live = liveParts(settings);
  const observation = createObservation(settings.host.traces, { service: settings.host.name, log });
  const metrics = new KeyServerMetrics(observation);
  const masterKey = readMasterKeyFile(settings.store.masterKeyFile);
  const { randomBytes } = crypto;
  const { folder, ...places } = settings.store;
  const options = {
    ...places,
    masterKey,
    now,
    randomBytes,
    observer: metrics,
    alarm: alarmTo(log),
  };
  const state = await openState(folder, options);
  const endorsements = openEndorsements(
    settings.endorsements,
    { anchors: live.anchors, clock: systemClock(now, false), random: Math.random, log },
    settings.endorsements.mode === 'fetch',
  );
  let local: LocalSocket | undefined;
  try {
    local = await listenLocal({
      path: settings.operatorSocket.path,
      services: [operatorService({ ...state, started: now(), reload })],
      log,
      now,
      unarySecondsMax: settings.host.unarySecondsMax,
    });
    const source = endorsements.keeper;
    const parts = { source, observation, metrics, log, now };
    const host = await listen(settings, state, () => live, parts);
    if (settings.endorsements.mode === 'fetch') endorsements.startRefresh();
    const unfollow = follow({ state, keeper: source, observation, metrics, log });
    let { shutdownGraceSeconds, shutdownNoticeSeconds } = settings.host;
    return {
      log,
      apply(next) {
        const nextLive = liveParts(next);
        host.apply(liveHostOptions(next.host, { tenants: state.tenants, now }));
        // From here on nothing can fail.
        live = nextLive;
        source.trust(live.anchors);
        log.level = next.host.logLevel;
        ({ shutdownGraceSeconds, shutdownNoticeSeconds } = next.host);
      },
      async stop() {
        unfollow();
        await local?.close();
        await host.stop(shutdownGraceSeconds, shutdownNoticeSeconds);
        await endorsements.close();
        await state.close();
        await observation.close();
      },
    };
  } catch (error) {
    await local?.close();
    await endorsements.close();
    await state.close();
    throw error;
  }
}

/** What of the configuration, and of the files that it names, may change while the server runs. */
interface LiveParts extends Pick<VerifierOptions, 'anchors' | 'endorsements'> {
  readonly limits: SessionLimits;
}

/** @throws CvmpError CONFIG */
function liveParts(settings: KeyServerSettings): LiveParts {
  const { verifier, session } = settings;
  return {
    anchors: anchorsOf(settings),
    endorsements: heldEndorsements([
      ...readAll(verifier.endorsementFiles, 'verifier.endorsement_files'),
      // A root that is trusted need not come along.
      ...readAll(verifier.trustAnchorFiles, 'verifier.trust_anchor_files'),
      ...readAll(verifier.tpmRootFiles, 'verifier.tpm_root_files'),
    ]),
    limits: session,
  };
}

function anchorsOf({ verifier }: KeyServerSettings): readonly TrustAnchor[] {
  return trustAnchors({
    roots: readAll(verifier.trustAnchorFiles, 'verifier.trust_anchor_files'),
    tpmMakers: readAll(verifier.tpmRootFiles, 'verifier.tpm_root_files'),
  });
}

interface ListenParts extends Pick<VerifierOptions, 'source' | 'now'> {
  readonly log: Logger;
  readonly observation: Observation;
  readonly metrics: KeyServerMetrics;
}

function listen(
  settings: KeyServerSettings,
  state: KeyServerState,
  live: () => LiveParts,
  { source, observation, metrics, log, now }: ListenParts,
): Promise<Host> {
  const { identity, keys, notices, policies, tenants, audit, bootCounts } = state;
  const verifier = new Verifier({
    tenants,
    policies,
    audit,
    bootCounts,
    get anchors() {
      return live().anchors;
    },
    endorsements: (format) => live().endorsements(format),
    source,
    revocation: settings.endorsements.revocation,
    metrics,
    now,
  });
  const parts = {
    identity,
    verifier,
    keys,
    guard: state.guard,
    notices,
    get limits() {
      return live().limits;
    },
    metrics,
    now,
  };
  const facts = tenantFacts(state);
  const services = [
    keyService(parts),
    policyService(policies, identity, state.log),
    keyAdminService({ ...state, now }),
    auditService(state.log, state.guard),
    tenantService(tenants, facts),
    accessService(tenants, facts, now),
  ];
  // A server whose store was rolled back answers nobody, whatever is asked.
  const open = services.map((service) => gated(service, () => state.guard.refusal()));
  return startHost(hostOptions(settings.host, { services: open, tenants, observation, log, now }));
}

function alarmTo(log: Logger): (rollback: Rollback) => void {
  return ({ shown, own }) =>
    log.fatal(
      {
        [logField.code]: 'SERVER_ROLLBACK',
        [logField.shownSize]: shown.size,
        [logField.ownSize]: own.size,
      },
      'a peer keeps a checkpoint from the future: this store was rolled back',
    );
}

function readAll(files: readonly string[], field: string): readonly NamedFile[] {
  return files.map((name, i) => ({ name, bytes: readNamedFile(name, `${field}[${i}]`) }));
}
