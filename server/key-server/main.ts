#!/usr/bin/env node
import { runProgram } from '#server/host/program.js';
import { keyServer } from './program.js';

process.exitCode = await runProgram(keyServer(Date.now), {
  arguments: process.argv.slice(2),
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  signals: process,
  service: {
    notifySocket: process.env.NOTIFY_SOCKET,
    watchdogMicroseconds: process.env.WATCHDOG_USEC,
  },
  exit: (code) => process.exit(code),
});
