import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { connectByTls, serverApis } from '../api.js';
import { exists } from '../profile/key-file.js';
import { type Profile, readProfile } from '../profile/profile.js';
import { callerKey } from '../profile/speaker.js';
import { firstRun } from './first-run.js';
import { type DevLayout, type DevPorts, defaultPorts, devLayout, devTenant } from './layout.js';
import { freePorts, requireFree } from './ports.js';
import { RunningProgram } from './program.js';
import { claim, record, release } from './running.js';
import { samplePolicy } from './sample-policy.js';

/** Both servers, up, with a tenant that they know. */
export interface Dev {
  readonly layout: DevLayout;
  readonly profile: Profile;
  readonly ports: DevPorts;
  /** Settles with the error of a server that ended by itself. */
  readonly failed: Promise<CvmpError>;
  /** Lets both servers drain and end. */
  stop(): Promise<void>;
}

/**
 * Brings everything up on a data folder, making it at the first run.
 * @param wanted ports for the first run, `auto` for free ones; later they stay as they were made
 * @param say tells a person what happens
 * @throws CvmpError STORE_LOCKED, CONFIG, UNAVAILABLE
 */
export async function bringUp(
  data: string,
  wanted: DevPorts | 'auto' | undefined,
  now: () => number,
  say: (line: string) => void,
): Promise<Dev> {
  const layout = devLayout(data);
  if (!(await exists(layout.profile))) {
    const ports = wanted === 'auto' ? await freePorts() : (wanted ?? defaultPorts);
    await requireFree(ports);
    say(`first run: making ${data} (keys, certificates, sample images; takes some seconds)`);
    await firstRun(data, ports);
  } else {
    await claim(layout.running, data);
  }
  const programs: RunningProgram[] = [];
  const stop = async () => {
    await Promise.all(programs.map((program) => program.stop()));
    await release(layout.running);
  };
  try {
    const ports = await portsOf(layout);
    requireSame(ports, wanted);
    await requireFree(ports);
    const start = (name: 'cvmp-key-server' | 'cvmp-platform', config: string) => {
      const program = new RunningProgram(name, config, join(layout.log, `${name}.log`));
      programs.push(program);
      return program;
    };
    const keyServer = start('cvmp-key-server', layout.keyServer.config);
    const platform = start('cvmp-platform', layout.platform.config);
    await record(layout.running, [keyServer.pid, platform.pid]);
    await Promise.all([keyServer.ready(), platform.ready()]);
    const profile = await readProfile(layout.profile);
    await introduce(profile, layout, now);
    return { layout, profile, ports, failed: firstFailure(programs), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Ends where a server ends that nobody asked to. */
function firstFailure(programs: readonly RunningProgram[]): Promise<CvmpError> {
  return new Promise((resolve) => {
    for (const program of programs) {
      void program.ended.then((error) => {
        if (error !== undefined) resolve(error);
      });
    }
  });
}

/** The tenant becomes known to both servers; a sample policy is written where there is none. */
async function introduce(profile: Profile, layout: DevLayout, now: () => number): Promise<void> {
  const servers = serverApis(profile, connectByTls, now);
  try {
    const { key } = await callerKey(profile, 'tenant');
    const signingKey = encodeCoseKey({ curve: key.curve, point: key.publicPoint });
    for (const server of ['key_server', 'platform'] as const) {
      await servers.tenants(server).registerTenant({ tenant: { tenantId: devTenant, signingKey } });
    }
    if (await exists(layout.policy)) return;
    await writeFile(layout.policy, await samplePolicy(profile, servers, 'sample', '*'));
  } finally {
    servers.close();
  }
}

/** Ports as the servers' own config files have them. */
async function portsOf(layout: DevLayout): Promise<DevPorts> {
  const read = async (file: string) => {
    const config = parse(await readFile(file, 'utf8')) as {
      readonly grpc?: { readonly listen?: string };
      readonly web?: { readonly listen?: string };
    };
    const port = (listen: string | undefined) => Number(/:(\d+)$/.exec(listen ?? '')?.[1]);
    return [port(config.grpc?.listen), port(config.web?.listen)] as const;
  };
  const [keyServer, keyServerWeb] = await read(layout.keyServer.config);
  const [platform, platformWeb] = await read(layout.platform.config);
  return { keyServer, keyServerWeb, platform, platformWeb };
}

/** CVMs that exist know the Key Server by its address, so ports do not move. */
function requireSame(ports: DevPorts, wanted: DevPorts | 'auto' | undefined): void {
  const text = (p: DevPorts) => [p.keyServer, p.keyServerWeb, p.platform, p.platformWeb].join(',');
  if (wanted === undefined || wanted === 'auto' || text(wanted) === text(ports)) return;
  throw new CvmpError('CONFIG', `this folder was made with --ports ${text(ports)}`, {
    field: 'ports',
  });
}
