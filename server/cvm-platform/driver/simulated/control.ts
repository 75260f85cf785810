import type { Socket } from 'node:net';
import type { Ended } from './folder.js';

/** What the driver asks of a machine process: one JSON text a line. */
export interface ControlRequest {
  readonly do: 'shutdown' | 'destroy';
}

/** What a machine process tells everybody who is connected, once. */
export interface ControlEvent {
  readonly ended: Ended;
}

const lineMax = 4096;

export function sendLine(socket: Socket, message: ControlRequest | ControlEvent): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `read` with each line; a line that is none of ours ends the connection. */
export function onLines(socket: Socket, read: (message: object) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    try {
      if (rest.length > lineMax) throw new Error('a line too long');
      for (const line of lines) {
        const message: unknown = JSON.parse(line);
        if (typeof message !== 'object' || message === null) throw new Error('no object');
        read(message);
      }
    } catch {
      socket.destroy();
    }
  });
}
