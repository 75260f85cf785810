import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHex, utf8 } from '#core/bytes.js';
import { crypto } from '#crypto';

/** Ports on the loopback address. */
export interface DevPorts {
  readonly keyServer: number;
  readonly keyServerWeb: number;
  readonly platform: number;
  readonly platformWeb: number;
}

export const defaultPorts: DevPorts = {
  keyServer: 7443,
  keyServerWeb: 7480,
  platform: 7444,
  platformWeb: 7481,
};

/** The tenant that `cvmp dev` makes. */
export const devTenant = 'demo';

/** Where everything lies below the data folder. */
export function devLayout(data: string) {
  const keyServer = join(data, 'key-server');
  const platform = join(data, 'platform');
  return {
    profile: join(data, 'cvmp.yaml'),
    policy: join(data, 'policy.yaml'),
    operatorPublicKey: join(data, 'operator.pub'),
    log: join(data, 'log'),
    /** Processes that run now. */
    running: join(data, 'running.json'),
    keyServer: {
      folder: keyServer,
      config: join(keyServer, 'config.yaml'),
      certificate: join(keyServer, 'tls.crt'),
      identity: join(keyServer, 'identity.pub'),
    },
    platform: {
      folder: platform,
      config: join(platform, 'config.yaml'),
      certificate: join(platform, 'tls.crt'),
      hardwareRoot: join(platform, 'hardware', 'ark.pem'),
    },
  };
}

export type DevLayout = ReturnType<typeof devLayout>;

/** Longest data folder below which unix sockets still have paths that the kernel takes. */
const socketFolderMax = 40;

/**
 * Folder for unix sockets, whose paths have at most 107 bytes: in the data folder, or, where its
 * path is long, a folder of its own in the system's temporary one.
 */
export function socketFolder(data: string): string {
  if (utf8(data).length <= socketFolderMax) return join(data, 'platform', 'run');
  return join(tmpdir(), `cvmp-dev-${toHex(crypto.hash('sha256', utf8(data))).slice(0, 12)}`);
}
