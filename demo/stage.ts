import { createWriteStream, type WriteStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { connectByTls, type ServerApis, serverApis } from '#cli/api.js';
import { freePorts } from '#cli/dev/ports.js';
import { samplePolicy } from '#cli/dev/sample-policy.js';
import { bringUp, type Dev } from '#cli/dev/up.js';
import { createKeyFile } from '#cli/profile/key-file.js';
import { type Profile, profileText, readProfile } from '#cli/profile/profile.js';
import { run } from '#cli/program.js';
import type { Terminal } from '#cli/terminal/output.js';

/** What a command of `cvmp` came to. */
export interface CommandResult {
  readonly code: number;
  /** Its JSON document. */
  // biome-ignore lint/suspicious/noExplicitAny: the documents of all commands, looked into by path
  readonly json: any;
  readonly stderr: string;
}

/** A tenant with a profile of its own, and `cvmp` as it would type it. */
export interface Actor {
  readonly profile: Profile;
  readonly servers: ServerApis;
  /** Runs a command line of `cvmp` over real sockets. */
  cvmp(commandLine: string): Promise<CommandResult>;
}

/** Servers, agents and tenants of the story: real processes in a folder of their own. */
export interface Stage {
  readonly folder: string;
  readonly dev: Dev;
  readonly demo: Actor;
  /** A second tenant of the same servers. */
  readonly mallory: Actor;
  /** Ends every process; removes the folder unless it is to be kept. */
  clear(keep: boolean): Promise<void>;
}

/** Ready in some seconds. */
export async function setStage(say: (line: string) => void): Promise<Stage> {
  // Short: unix sockets lie below.
  const folder = await mkdtemp(join(tmpdir(), 'cvmp-demo-'));
  const data = join(folder, 'data');
  const transcript = createWriteStream(join(folder, 'cvmp.log'), { mode: 0o600 });
  let dev: Dev | undefined;
  try {
    dev = await bringUp(data, await freePorts(), Date.now, say);
    const demo = await actor(dev.profile, transcript);
    const mallory = await actor(await secondTenant(dev, demo), transcript);
    await mallory.cvmp('tenant register');
    const actors = [demo, mallory];
    const running = dev;
    return {
      folder,
      dev,
      demo,
      mallory,
      async clear(keep) {
        for (const { servers } of actors) servers.close();
        await running.stop();
        transcript.end();
        if (!keep) await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await dev?.stop();
    transcript.end();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Another tenant with keys of its own, and a policy that admits the same images. */
async function secondTenant(dev: Dev, demo: Actor): Promise<Profile> {
  const { profile } = dev;
  const folder = join(dirname(dirname(profile.file)), 'mallory');
  await mkdir(folder, { mode: 0o700 });
  await createKeyFile(join(folder, 'tenant-key.pem'), 'P-256');
  await createKeyFile(join(folder, 'id-block-key.pem'), 'P-384');
  const operatorKey = join(folder, 'operator-key.pem');
  await copyFile(profile.operatorKey!, operatorKey);
  const file = join(folder, 'cvmp.yaml');
  const text = profileText({
    tenant: 'mallory',
    tenantKey: 'tenant-key.pem',
    idBlockKey: 'id-block-key.pem',
    operatorKey,
    trustAnchors: profile.trustAnchors,
    keyServer: profile.keyServer!,
    platform: profile.platform!,
  });
  await writeFile(file, text);
  const made = await readProfile(file);
  const policy = await samplePolicy(made, demo.servers, 'mallory', '*');
  await writeFile(join(folder, 'policy.yaml'), policy);
  return made;
}

async function actor(profile: Profile, transcript: WriteStream): Promise<Actor> {
  const servers = serverApis(profile, connectByTls, Date.now);
  return {
    profile,
    servers,
    async cvmp(commandLine) {
      const written = { stdout: '', stderr: '' };
      const terminal: Terminal = {
        out: (text) => {
          written.stdout += text;
        },
        err: (text) => {
          written.stderr += text;
        },
        colour: false,
        interactive: false,
        ask: async () => '',
      };
      const context = (json: boolean) => ({
        terminal,
        json,
        now: Date.now,
        path: (path: string) => path,
        signal: new AbortController().signal,
        profile: async () => profile,
        profilePath: profile.file,
        servers: async () => servers,
      });
      transcript.write(`$ cvmp ${commandLine}\n`);
      const argv = [...commandLine.split(' '), '--json'];
      const code = await run(argv, { terminal, version: '', context });
      transcript.write(`${written.stdout}${written.stderr}exit code ${code}\n`);
      return { code, json: JSON.parse(written.stdout || 'null'), stderr: written.stderr };
    },
  };
}

/** The profile with the Key Server at another address: what a CVM is told to connect to. */
export async function rerouted(
  actorOf: Actor,
  folder: string,
  guestAddress: string,
): Promise<Actor> {
  const text = await readFile(actorOf.profile.file, 'utf8');
  const file = join(dirname(actorOf.profile.file), 'rerouted.yaml');
  await writeFile(
    file,
    text.replace('key_server:', `key_server:\n  guest_address: ${guestAddress}`),
  );
  const transcript = createWriteStream(join(folder, 'rerouted.log'), { mode: 0o600 });
  return actor(await readProfile(file), transcript);
}
