import { closeSync, writeSync } from 'node:fs';
import process from 'node:process';
import { CvmpError } from '#core/errors.js';
import { type MachineControls, runMachine } from './machine.js';

// The process of one simulated CVM: main.js FOLDER. The simulated driver starts it and reads from
// descriptor 3 whether the guest runs; after that it needs nobody.

/** Answers the driver, if it still listens. */
function answer(message: { readonly code?: string; readonly message?: string }): void {
  try {
    writeSync(3, JSON.stringify(message));
    closeSync(3);
  } catch {
    // It does not: it died meanwhile. The next one asks the control socket.
  }
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new TypeError('usage: main.js FOLDER');
process.umask(0o077);

try {
  await runMachine(folder, Date.now, (controls: MachineControls) => {
    answer({});
    process.on('SIGTERM', () => controls.shutdown());
    process.on('SIGINT', () => controls.shutdown());
  });
} catch (error) {
  const code = error instanceof CvmpError ? error.code : 'DRIVER';
  answer({ code, message: (error as Error).message });
  process.exitCode = 1;
}
