import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { TokenSettings } from '#server/key-server/sealing/pkcs11.js';
import { temporaryFolder } from '../run-folder.js';

const modulePath = '/usr/lib/softhsm/libsofthsm2.so';

/** Why tests with a token are skipped here; undefined: they are not. */
export function withoutSoftHsm(): string | undefined {
  if (!existsSync(modulePath)) return 'SoftHSM is not installed (Debian: softhsm2)';
  try {
    createRequire(import.meta.url)('pkcs11js');
  } catch {
    return 'the optional package pkcs11js is not built';
  }
  return undefined;
}

interface Token {
  readonly configFile: string;
  readonly pinFile: string;
}

let token: Token | undefined;
let keys = 0;

/**
 * One token for this process, since SoftHSM finds its tokens when it is first loaded, and a key label
 * of its own for each call. SOFTHSM2_CONF of this process and its children says where the token is.
 */
export function tokenSettings(): TokenSettings {
  token ??= newToken();
  const keyLabel = `key-${++keys}`;
  return { modulePath, tokenLabel: 'cvmp', keyLabel, pinFile: token.pinFile };
}

function newToken(): Token {
  const folder = temporaryFolder('hsm');
  const configFile = join(folder, 'softhsm2.conf');
  mkdirSync(join(folder, 'tokens'));
  writeFileSync(
    configFile,
    `directories.tokendir = ${join(folder, 'tokens')}\nlog.level = ERROR\n`,
  );
  process.env['SOFTHSM2_CONF'] = configFile;
  const options = ['--init-token', '--free', '--label', 'cvmp', '--so-pin', '5678'];
  execFileSync('softhsm2-util', [...options, '--pin', '1234'], { stdio: 'ignore' });
  const pinFile = join(folder, 'hsm.pin');
  writeFileSync(pinFile, '1234\n', { mode: 0o600 });
  return { configFile, pinFile };
}
