import type { Logger } from 'pino';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { crypto } from '#crypto';
import {
  createTls,
  publicKeyLine,
  readPublicKey,
  writeNewFile,
} from '#server/host/config/files.js';
import { hostOptions, liveHostOptions, openLog } from '#server/host/config/settings.js';
import { startHost } from '#server/host/host.js';
import { type LocalSocket, listenLocal } from '#server/host/local-socket.js';
import { createLog, logField } from '#server/host/log.js';
import { createObservation } from '#server/host/observe/observation.js';
import type { Control, Dialog, InitOptions, Program, Running } from '#server/host/program.js';
import { type KeyServerSettings, readKeyServerSettings } from './config.js';
import { systemClock } from './endorsements/clock.js';
import { endorsementCommands } from './endorsements/commands.js';
import { openEndorsements } from './endorsements/open.js';
import { follow } from './following.js';
import type { Rollback } from './log/rollback.js';
import { KeyServerMetrics } from './metrics.js';
import { operatorCommands } from './operator/commands.js';
import { exportCommands } from './operator/export.js';
import { operatorService } from './operator/service.js';
import type { KeyServerState } from './release/contract.js';
import { initState, openState, type StateOptions } from './release/open.js';
import { askedMasterKey, newPassphrase, nobody } from './sealing/asked.js';
import { SealGate } from './sealing/gate.js';
import { providerOf } from './sealing/settings.js';
import { anchorsOf, liveParts, servicesOf, serviceTypes } from './services.js';
import type { MasterKey } from './store/master-key.js';
import { readMasterDescription } from './store/vault/file-vault.js';
import { upkeepCommands } from './upkeep/commands.js';

interface Surroundings {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly credentialsFolder: string | undefined;
}

/**
 * `cvmp-key-server`.
 * @param now milliseconds since the epoch
 * @param credentialsFolder $CREDENTIALS_DIRECTORY of a service of systemd
 */
export function keyServer(
  now: () => number,
  credentialsFolder?: string,
): Program<KeyServerSettings> {
  const surroundings = { now, credentialsFolder };
  const placeOf = async ({ store }: KeyServerSettings, dialog: Dialog) => ({
    ...store,
    masterKey: await askedMasterKey(store, credentialsFolder, dialog),
    now,
    randomBytes: crypto.randomBytes,
  });
  return {
    name: 'cvmp-key-server',
    read: readKeyServerSettings,
    init: (settings, options) => init(settings, options, surroundings),
    serve: (settings, control) => serve(settings, control, surroundings),
    commands: {
      ...operatorCommands(
        (settings) => settings.operatorSocket.path,
        ({ operatorSocket, store }) => ({ ...operatorSocket, masterKey: store.masterKey }),
      ),
      ...upkeepCommands(placeOf, (settings) => settings.operatorSocket.path),
      ...exportCommands({
        socketOf: ({ operatorSocket }) => operatorSocket.path,
        identityOf: ({ identityKeyFile }) => readPublicKey(identityKeyFile, 'identity_key_file'),
        placeOf,
      }),
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

/**
 * Nothing that exists is overwritten. Shares of the master key go to the standard output and nowhere
 * else.
 * @throws CvmpError ALREADY_EXISTS, CONFIG, USAGE
 */
async function init(
  { store, host, identityKeyFile }: KeyServerSettings,
  { selfSignedNames, ...dialog }: InitOptions,
  { now, credentialsFolder }: Surroundings,
): Promise<readonly string[]> {
  const { randomBytes } = crypto;
  const { folder, headFile, vaultFolder } = store;
  const choosePassphrase = () => newPassphrase(dialog);
  const provider = providerOf(store.masterKey, { credentialsFolder, choosePassphrase });
  const { masterKey, shares } = await provider.create();
  const options = { headFile, vaultFolder, masterKey, now, randomBytes };
  await initState(folder, options);
  const state = await openState(folder, options);
  const identity = ecPublicKey(state.identity.curve, state.identity.publicPoint);
  await state.close();
  const kept = provider.kind === 'file' ? store.masterKey.file : provider.kind;
  const lines = [`store: ${folder}`, `vault: ${vaultFolder}`, `master key: ${kept}`];
  if (selfSignedNames.length > 0) {
    await createTls(host.tls, selfSignedNames, now());
    lines.push(`certificate: ${host.tls.certificateFile}`);
  }
  writeNewFile(identityKeyFile, publicKeyLine(identity), 0o644);
  lines.push(`identity key: ${identityKeyFile}`);
  lines.push(`identity thumbprint: ${toHex(thumbprint(identity))}`);
  return [...lines, ...shares];
}

async function serve(
  settings: KeyServerSettings,
  { reload }: Control,
  { now, credentialsFolder }: Surroundings,
): Promise<Running<KeyServerSettings>> {
  const log = openLog(settings.host, now);
  let live = liveParts(settings);
  const observation = createObservation(settings.host.traces, { service: settings.host.name, log });
  const metrics = new KeyServerMetrics(observation);
  const endorsements = openEndorsements(
    settings.endorsements,
    { anchors: live.anchors, clock: systemClock(now, false), random: Math.random, log },
    settings.endorsements.mode === 'fetch',
  );
  const source = endorsements.keeper;
  const { readiness } = observation;
  const alarm = alarmTo(log);
  const gate = new SealGate({
    provider: providerOf(settings.store.masterKey, { credentialsFolder, choosePassphrase: nobody }),
    describe: () => readMasterDescription(settings.store.vaultFolder),
    open: async (masterKey) => {
      const state = await openStore(settings, masterKey, {
        now,
        observer: metrics,
        alarm,
        evidenceLimits: () => live.audit,
      });
      const services = servicesOf(settings, state, () => live, { source, metrics, now });
      return { state, services };
    },
    serviceTypes,
    readiness,
    log,
    now,
  });
  let local: LocalSocket | undefined;
  try {
    await gate.start();
    local = await listenLocal({
      path: settings.operatorSocket.path,
      services: [operatorService({ gate, credentialsFolder, started: now(), reload })],
      log,
      now,
      unarySecondsMax: settings.host.unarySecondsMax,
    });
    const { services, tenants } = gate;
    const parts = { services, tenants, observation, log, now };
    const host = await startHost(hostOptions(settings.host, parts));
    if (settings.endorsements.mode === 'fetch') endorsements.startRefresh();
    const state = () => gate.opened?.state;
    const unfollow = follow({ state, keeper: source, observation, metrics, log });
    let { shutdownGraceSeconds, shutdownNoticeSeconds } = settings.host;
    return {
      log,
      apply(next) {
        const nextLive = liveParts(next);
        host.apply(liveHostOptions(next.host, { tenants, now }));
        // From here on nothing can fail.
        live = nextLive;
        source.trust(live.anchors);
        log.level = next.host.logLevel;
        ({ shutdownGraceSeconds, shutdownNoticeSeconds } = next.host);
      },
      status: () => (readiness.isReady ? 'serving' : readiness.reasons.join(' ')),
      async stop() {
        unfollow();
        await local?.close();
        await host.stop(shutdownGraceSeconds, shutdownNoticeSeconds);
        await endorsements.close();
        await gate.close();
        await observation.close();
      },
    };
  } catch (error) {
    await local?.close();
    await endorsements.close();
    await gate.close();
    throw error;
  }
}

async function openStore(
  { store, quotas }: KeyServerSettings,
  masterKey: MasterKey,
  more: Pick<StateOptions, 'now' | 'observer' | 'alarm' | 'evidenceLimits'>,
): Promise<KeyServerState> {
  const { folder, headFile, vaultFolder } = store;
  const { randomBytes } = crypto;
  try {
    const places = { headFile, vaultFolder };
    return await openState(folder, { ...places, masterKey, randomBytes, quotas, ...more });
  } catch (error) {
    masterKey.close();
    throw error;
  }
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
