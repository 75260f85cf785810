#!/usr/bin/env node
import { createReadStream } from 'node:fs';
import { runProgram } from '#server/host/program.js';
import { secretInput } from '#server/host/secret-input.js';
import { keyServer } from './program.js';

process.exitCode = await runProgram(keyServer(Date.now, process.env.CREDENTIALS_DIRECTORY), {
  arguments: process.argv.slice(2),
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  signals: process,
  secrets: (descriptor) =>
    secretInput(
      () => (descriptor === undefined ? process.stdin : createReadStream('', { fd: descriptor })),
      (text) => process.stderr.write(text),
    ),
  service: {
    notifySocket: process.env.NOTIFY_SOCKET,
    watchdogMicroseconds: process.env.WATCHDOG_USEC,
  },
  exit: (code) => process.exit(code),
});
