import { create } from '@bufbuild/protobuf';
import { createWritableIterable, type WritableIterable } from '@connectrpc/connect/protocol';
import { CvmpError } from '#core/errors.js';
import {
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
} from '#gen/cvmp/v1/key_pb.js';
import type { Connection } from './connection.js';

/** A Key Server that takes longer for an answer is as good as gone. */
const answerMs = 30_000;

export type RequestCase = NonNullable<SessionRequest['frame']['case']>;
export type ResponseCase = NonNullable<SessionResponse['frame']['case']>;

export interface Frame<K extends ResponseCase> {
  readonly kind: K;
  readonly value: Uint8Array;
}

/** The bidirectional stream as frames of bytes. */
export class FrameStream {
  readonly #connection: Connection;
  readonly #requests: WritableIterable<SessionRequest> = createWritableIterable();
  readonly #responses: AsyncIterator<SessionResponse>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#responses = connection.service.session(this.#requests)[Symbol.asyncIterator]();
  }

  /** Frames leave in the order of the calls; a stream that breaks is told by {@link nextOf}. */
  send(kind: RequestCase, value: Uint8Array): void {
    const frame = { case: kind, value };
    this.#requests.write(create(SessionRequestSchema, { frame })).catch(() => {});
  }

  /** The next frame, which must be of one of these kinds. @throws CvmpError, ConnectError */
  async nextOf<K extends ResponseCase>(kinds: readonly K[]): Promise<Frame<K>> {
    return this.#take(kinds, await within(this.#responses.next()));
  }

  /** {@link nextOf}, however long it takes. */
  async wheneverOf<K extends ResponseCase>(kinds: readonly K[]): Promise<Frame<K>> {
    return this.#take(kinds, await this.#responses.next());
  }

  #take<K extends ResponseCase>(
    kinds: readonly K[],
    step: IteratorResult<SessionResponse>,
  ): Frame<K> {
    if (step.done === true) throw new CvmpError('UNAVAILABLE', 'the Key Server ended the stream');
    const { frame } = step.value;
    const kind = kinds.find((one) => one === frame.case);
    if (kind !== undefined && frame.value !== undefined) return { kind, value: frame.value };
    const what = `the Key Server sent ${frame.case}, not ${kinds.join(' or ')}`;
    throw new CvmpError('PROTOCOL_ORDER', what);
  }

  close(): void {
    this.#requests.close();
    this.#connection.close();
  }
}

/** @throws CvmpError UNAVAILABLE where the answer takes too long */
export async function within<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const what = `no answer in ${answerMs} ms`;
    timer = setTimeout(() => reject(new CvmpError('UNAVAILABLE', what)), answerMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
