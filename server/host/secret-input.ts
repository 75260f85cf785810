import type { Readable } from 'node:stream';
import { CvmpError } from '#core/errors.js';

/** Asks a person, or a pipe, for a secret. */
export interface SecretInput {
  /**
   * One line, without its end. A terminal shows nothing of it. The caller overwrites it.
   * @throws CvmpError CANCELLED, USAGE: no more lines, or too long
   */
  readSecret(prompt: string): Promise<Uint8Array>;
}

type Source = Readable & {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
};

const bytesMax = 4096;
const key = { enter: 0x0d, newline: 0x0a, cancel: 0x03, end: 0x04, backspace: 0x7f, erase: 0x08 };

/**
 * @param source a terminal, or whatever lines come from; opened when it is first needed
 * @param show where prompts go
 */
export function secretInput(open: () => Source, show: (text: string) => void): SecretInput {
  let source: Source | undefined;
  let rest: Buffer = Buffer.alloc(0);
  return {
    async readSecret(prompt) {
      source ??= open();
      const isTerminal = source.isTTY === true;
      if (isTerminal) show(`${prompt}: `);
      source.setRawMode?.(true);
      try {
        const [line, left] = await readLine(source, rest, isTerminal);
        rest.fill(0);
        rest = left;
        return line;
      } finally {
        source.setRawMode?.(false);
        source.pause();
        if (isTerminal) show('\n');
      }
    },
  };
}

/** @returns the line, and what came behind it */
function readLine(
  source: Source,
  rest: Buffer,
  isTerminal: boolean,
): Promise<readonly [line: Uint8Array, rest: Buffer]> {
  const line = new Uint8Array(bytesMax);
  let length = 0;
  return new Promise((resolve, reject) => {
    const finish = (left: Buffer) => {
      stop();
      resolve([line.subarray(0, length), left]);
    };
    const fail = (error: CvmpError) => {
      stop();
      line.fill(0);
      reject(error);
    };
    const take = (chunk: Buffer) => {
      for (const [i, byte] of chunk.entries()) {
        if (byte === key.newline || (isTerminal && byte === key.enter)) {
          const left = Buffer.from(chunk.subarray(i + 1));
          chunk.fill(0);
          finish(left);
          return;
        }
        if (isTerminal && byte === key.cancel) return fail(cancelled());
        if (isTerminal && byte === key.end) return finish(Buffer.alloc(0));
        if (isTerminal && (byte === key.backspace || byte === key.erase)) {
          length = Math.max(0, length - 1);
        } else if (length === bytesMax) {
          return fail(new CvmpError('USAGE', `a secret has at most ${bytesMax} bytes`));
        } else line[length++] = byte;
      }
      chunk.fill(0);
    };
    const end = () => {
      if (length > 0) finish(Buffer.alloc(0));
      else fail(new CvmpError('USAGE', 'there is no line to read a secret from'));
    };
    const broken = (cause: Error) =>
      fail(new CvmpError('USAGE', 'the secret cannot be read', { cause }));
    function stop(): void {
      source.off('data', take);
      source.off('end', end);
      source.off('error', broken);
    }
    source.on('end', end);
    source.on('error', broken);
    if (source.readableEnded && rest.length === 0) return end();
    source.on('data', take);
    if (rest.length > 0) take(rest);
    source.resume();
  });
}

function cancelled(): CvmpError {
  return new CvmpError('CANCELLED', 'nothing was entered');
}
