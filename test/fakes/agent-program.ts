import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { parse } from 'yaml';
import { readTsmReport } from '#agent/attester/tsm.js';
import { socketTsm } from '#agent/attester/tsm-socket.js';
import { crypto } from '#crypto';

// A guest for tests of the simulated driver, run as the Key Agent would be: it takes one report,
// serves its guest socket, and ends when asked. The host part of key_server_address says what else:
// `deaf` does not hear SIGTERM, `fails` ends at once with exit code 10.

interface Config {
  readonly key_server_address: string;
  readonly tsm: { readonly socket: string };
  readonly guest_socket: string;
  readonly state_dir: string;
}

const file = process.argv[process.argv.indexOf('--config') + 1]!;
const config = parse(readFileSync(file, 'utf8')) as Config;
const [mode] = config.key_server_address.split(':');

if (mode === 'fails') {
  process.stderr.write('guest: error: SVN_BELOW_FLOOR\n');
  process.exit(10);
}
process.on('SIGTERM', () => {
  if (mode !== 'deaf') process.exit(0);
});

const tsm = socketTsm(config.tsm.socket);
const { outblob, auxblob } = await readTsmReport(tsm, new Uint8Array(64).fill(7), {
  privlevel: undefined,
  randomBytes: crypto.randomBytes,
});
mkdirSync(config.state_dir, { recursive: true });
writeFileSync(join(config.state_dir, 'report'), outblob);
writeFileSync(join(config.state_dir, 'certificates'), auxblob);
writeFileSync(join(config.state_dir, 'environment'), JSON.stringify(process.env));
createServer().listen(config.guest_socket);
