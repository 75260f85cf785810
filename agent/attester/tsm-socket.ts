import { connect, type Socket } from 'node:net';
import { CvmpError } from '#core/errors.js';
import {
  decodeTsmResponse,
  encodeTsmRequest,
  TsmFrames,
  type TsmOperation,
  type TsmResponse,
} from '#wire/tsm.js';
import type { TsmFileOps } from './tsm.js';

/** A simulated configfs-tsm behind a unix socket (wire/tsm.ts), of a CVM without hardware. */
export function socketTsm(path: string): TsmFileOps {
  const connection = new TsmConnection(path);
  const none = new Uint8Array(0);
  return {
    mkdir: async (name) => void (await connection.call('mkdir', name, none)),
    rmdir: async (name) => void (await connection.call('rmdir', name, none)),
    writeFile: async (name, data) => void (await connection.call('write', name, data)),
    readFile: (name) => connection.call('read', name, none),
    close: () => connection.close(),
  };
}

interface Waiting {
  readonly resolve: (response: TsmResponse) => void;
  readonly reject: (error: Error) => void;
}

/** Calls are made one after the other; a broken connection fails the call that waits. */
class TsmConnection {
  readonly #path: string;
  #socket: Socket | undefined;
  #waiting: Waiting | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  async call(operation: TsmOperation, path: string, data: Uint8Array): Promise<Uint8Array> {
    const turn = this.#last.then(() => this.#exchange(encodeTsmRequest({ operation, path, data })));
    this.#last = turn.catch(() => {});
    const response = await turn;
    if ('data' in response) return response.data;
    const error: NodeJS.ErrnoException = new Error(`${response.errno}: ${operation} ${path}`);
    error.code = response.errno;
    throw error;
  }

  close(): void {
    if (this.#socket !== undefined) this.#fail(this.#socket, 'the TSM socket was closed');
  }

  #exchange(request: Uint8Array): Promise<TsmResponse> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket ??= this.#connect();
      this.#socket.write(request);
    });
  }

  #connect(): Socket {
    const socket = connect(this.#path);
    const frames = new TsmFrames();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const body of frames.push(chunk)) this.#settle(decodeTsmResponse(body));
      } catch (cause) {
        this.#fail(socket, 'the TSM socket gave no answer of its protocol', cause);
      }
    });
    socket.on('error', (cause) => this.#fail(socket, 'the TSM socket failed', cause));
    socket.on('close', () => this.#fail(socket, 'the TSM socket was closed'));
    return socket;
  }

  #settle(response: TsmResponse): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(response);
  }

  #fail(socket: Socket, message: string, cause?: unknown): void {
    // A late event of an earlier connection is none of the call that waits now.
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(new CvmpError('TSM_UNAVAILABLE', message, { cause }));
  }
}
