import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ControlEvent, type ControlRequest, onLines, sendLine } from './control.js';
import type { Ended } from './folder.js';

/** The driver's connection to the machine process of one CVM. */
export class MachineConnection {
  /** Resolves when the connection is over: with how the CVM ended, where the machine said so. */
  readonly over: Promise<Ended | undefined>;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let ended: Ended | undefined;
    onLines(socket, (message) => {
      ended = (message as Partial<ControlEvent>).ended;
    });
    socket.on('error', () => socket.destroy());
    this.over = once(socket, 'close').then(() => ended);
  }

  /** Rejects where nobody listens. */
  static async open(path: string): Promise<MachineConnection> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new MachineConnection(socket);
  }

  ask(what: ControlRequest['do']): void {
    sendLine(this.#socket, { do: what });
  }

  /** Leaves the machine alone. */
  close(): void {
    this.#socket.destroy();
  }
}
