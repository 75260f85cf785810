import { once } from 'node:events';
import { create, toBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import {
  KeyService,
  type SessionRequest,
  SessionRequestSchema,
  SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import {
  type BoundService,
  bindService,
  type CallContext,
  type StreamSender,
} from '#server/host/handlers.js';
import { bearer } from '../../fakes/callers.js';
import { audience, startTestHost } from './harness.js';
import { outcome, RawClient, told } from './raw-client.js';

const session = 'cvmp.v1.KeyService/Session';
const watch = 'cvmp.v1.CvmService/CVMWatch';
const listTenants = 'cvmp.v1.TenantService/ListTenants';

function frame(bytes: Uint8Array): Buffer {
  const message = create(SessionRequestSchema, { frame: { case: 'sealed', value: bytes } });
  return Buffer.from(toBinary(SessionRequestSchema, message));
}

const answer = create(SessionResponseSchema, {
  frame: { case: 'sealed', value: new Uint8Array([1]) },
});

interface Seen {
  sender?: StreamSender<typeof SessionResponseSchema>;
  context?: CallContext;
  readonly events: string[];
}

/** A stream that notes what happens to it; `on` may answer or throw. */
function noted(seen: Seen, on: (message: SessionRequest) => void = () => undefined): BoundService {
  return bindService(KeyService, {
    session: (sender, context) => {
      seen.sender = sender;
      seen.context = context;
      return {
        message(message) {
          seen.events.push('message');
          on(message);
        },
        halfClosed() {
          seen.events.push('halfClosed');
          sender.end();
        },
        drained: () => seen.events.push('drained'),
        closed: () => seen.events.push('closed'),
      };
    },
  });
}

/** A CvmService whose watch yields `many` messages and notes its end. */
function watching(notes: string[], many: number): BoundService {
  const base = Object.fromEntries(CvmService.methods.map((m) => [m.localName, async () => ({})]));
  return bindService(CvmService, {
    ...base,
    async *cVMWatch(_request: unknown, context: CallContext) {
      try {
        for (let i = 0; i < many; i++) yield { cvm: { name: 'x'.repeat(1000) } };
        await once(context.signal, 'abort');
      } finally {
        notes.push('ended');
      }
    },
  } as never);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('bidirectional streams', () => {
  test('messages in order, half close, end; closed comes once and last', async () => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [noted(seen, () => seen.sender?.send(answer))]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    for (let i = 0; i < 3; i++) stream.write(frame(new Uint8Array([i])));
    stream.end();
    let answers = 0;
    stream.on('data', () => {
      answers += 1;
    });
    const [status] = await once(stream, 'status');
    expect([answers, status.code]).toEqual([3, 0]);
    expect(seen.events).toEqual(['message', 'message', 'message', 'halfClosed', 'closed']);
    await until(() => t.records.length === 1);
    expect(t.records[0]).toMatchObject({ code: 'OK', caller: { role: 'anonymous' } });
  });

  test('a handler that writes faster than its peer reads is told so, and when to go on', async () => {
    const turns: number[] = [];
    const service = bindService(KeyService, {
      session: (sender) => {
        let left = 300;
        const write = () => {
          let written = 1;
          for (; left > 0 && sender.send(answer); written++) left -= 1;
          turns.push(written);
          if (left === 0) sender.end();
          else left -= 1;
        };
        return {
          message: write,
          halfClosed: () => undefined,
          drained: write,
          closed: () => undefined,
        };
      },
    });
    const t = await startTestHost(() => [service]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.write(frame(new Uint8Array(1)));
    let answers = 0;
    stream.on('data', () => {
      answers += 1;
    });
    const [status] = await once(stream, 'status');
    expect([answers, status.code]).toEqual([300, 0]);
    expect(turns.length).toBeGreaterThan(2);
    expect(Math.max(...turns)).toBeLessThanOrEqual(64);
  });

  test('a handler that throws ends the stream; an anonymous peer gets only code and meaning', async () => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [
      noted(seen, () => {
        throw new CvmpError('BINDING_MISMATCH', 'the detail', { field: 'evidence' });
      }),
    ]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.write(frame(new Uint8Array(1)));
    const [error] = await once(stream, 'error').catch((reason) => [reason]);
    const result = outcome(error);
    expect(told(result)).toBe('UNAUTHENTICATED/BINDING_MISMATCH');
    expect(JSON.stringify(result)).not.toContain('the detail');
    expect(JSON.stringify(result)).not.toContain('evidence"');
    expect(t.log.join('')).toContain('the detail');
    await until(() => seen.events.at(-1) === 'closed');
  });

  test('a bug in a handler is INTERNAL without a word of it', async () => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [
      noted(seen, () => {
        throw new TypeError('the insides');
      }),
    ]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.write(frame(new Uint8Array(1)));
    const [error] = await once(stream, 'error').catch((reason) => [reason]);
    expect(told(outcome(error))).toBe('INTERNAL/INTERNAL');
    expect(JSON.stringify(outcome(error))).not.toContain('insides');
    expect(t.log.join('')).toContain('the insides');
  });

  test.each([
    ['garbage', Buffer.from([0xff, 0xff, 0xff])],
    ['an empty message', Buffer.alloc(0)],
    ['an unknown field', Buffer.from([0x7a, 1, 0])],
    ['two frames in one', Buffer.from([0x0a, 1, 0, 0x12, 1, 0])],
  ])('%s in place of a message is INVALID_ARGUMENT', async (_what, bytes) => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [noted(seen)]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.write(bytes);
    const [error] = await once(stream, 'error').catch((reason) => [reason]);
    expect(told(outcome(error))).toMatch(/^INVALID_ARGUMENT\/(INVALID_FIELD|MALFORMED)$/);
    expect(seen.events).toEqual(['closed']);
  });

  test('a message beyond the limit is RESOURCE_EXHAUSTED', async () => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [noted(seen)]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.write(Buffer.alloc(100 * 1024));
    const [error] = await once(stream, 'error').catch((reason) => [reason]);
    expect(told(outcome(error))).toBe('RESOURCE_EXHAUSTED/MESSAGE_SIZE');
    await until(() => seen.events.at(-1) === 'closed');
    expect(t.records.map(({ code }) => code)).toEqual(['MESSAGE_SIZE']);
  });

  test('a peer that vanishes closes its stream', async () => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [noted(seen)]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.on('error', () => undefined);
    stream.write(frame(new Uint8Array(1)));
    await until(() => seen.events.length === 1);
    stream.cancel();
    await until(() => seen.events.at(-1) === 'closed');
    expect(t.records.length).toBe(1);
    expect(seen.sender?.send(answer)).toBe(false);
  });

  test('the signal of a stream aborts at shutdown, and the peer is told UNAVAILABLE', async () => {
    const seen: Seen = { events: [] };
    const t = await startTestHost(() => [noted(seen)]);
    const stream = new RawClient(t.host.grpcAddress, t.certificate).bidi(session);
    stream.write(frame(new Uint8Array(1)));
    await until(() => seen.events.length === 1);
    const refused = once(stream, 'error').catch((reason) => [reason]);
    await t.host.stop(5);
    expect(told(outcome((await refused)[0]))).toBe('UNAVAILABLE/SHUTTING_DOWN');
    expect(seen.context?.signal.aborted).toBe(true);
  });
});

describe('server streams', () => {
  test('a slow reader holds the generator back, and its leaving ends it', async () => {
    const notes: string[] = [];
    const t = await startTestHost(() => [watching(notes, 1_000_000)]);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const authorization = await bearer(t.acme, audience, Date.now());
    const stream = client.serverStream(watch, new Uint8Array(), authorization);
    stream.on('error', () => undefined);
    await once(stream, 'data');
    stream.pause();
    stream.cancel();
    await until(() => notes.length === 1);
    await until(() => t.records.length === 1);
    expect(t.records[0]?.code).toBe('CANCELLED');
  });

  test('a deadline of the client ends it', async () => {
    const notes: string[] = [];
    const t = await startTestHost(() => [watching(notes, 1)]);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const authorization = await bearer(t.acme, audience, Date.now());
    const stream = client.serverStream(watch, new Uint8Array(), authorization, 300);
    const got: number[] = [];
    stream.on('data', (bytes: Buffer) => got.push(bytes.length));
    const [error] = await once(stream, 'error');
    expect(told(outcome(error))).toMatch(/^DEADLINE_EXCEEDED/);
    expect(got.length).toBe(1);
    await until(() => notes.length === 1);
  });
});

describe('unary calls', () => {
  const slow = (work: (context: CallContext) => Promise<object>) =>
    bindService(TenantService, {
      listTenants: async (_request, context) => work(context),
      registerTenant: async () => ({}),
      getTenant: async () => ({}),
      suspendTenant: async () => ({}),
      setTenantLimits: async () => ({}),
      replaceTenantKey: async () => ({}),
    });

  test('a handler that takes too long is DEADLINE_EXCEEDED and told so', async () => {
    let aborted = false;
    const t = await startTestHost(
      () => [
        slow(async ({ signal }) => {
          await once(signal, 'abort');
          aborted = true;
          return {};
        }),
      ],
      { unarySecondsMax: 0.05 },
    );
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const authorization = await bearer(t.operator, audience, Date.now());
    const result = await client.unary(listTenants, new Uint8Array(), authorization);
    expect(told(result)).toBe('DEADLINE_EXCEEDED/DEADLINE');
    await until(() => aborted);
  });

  test('calls under way are finished at shutdown, new ones are not taken', async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let running = false;
    const t = await startTestHost(() => [
      slow(async () => {
        running = true;
        await gate;
        return { nextPageToken: 'x' };
      }),
    ]);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const authorization = await bearer(t.operator, audience, Date.now());
    const first = client.unary(listTenants, new Uint8Array(), authorization);
    await until(() => running);
    const stopped = t.host.stop(30);
    const other = new RawClient(t.host.grpcAddress, t.certificate);
    const late = await other.unary(listTenants, new Uint8Array(), authorization);
    expect(told(late)).toMatch(/^UNAVAILABLE/);
    release();
    expect(told(await first)).toBe('OK');
    await stopped;
  });

  test('a peer without a token is refused before its message is read', async () => {
    const t = await startTestHost(() => [slow(async () => ({}))]);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    // The announced message never comes.
    const stream = client.bidi(listTenants);
    stream.on('data', () => undefined);
    const [error] = await once(stream, 'error').catch((reason) => [reason]);
    expect(told(outcome(error))).toBe('UNAUTHENTICATED/TOKEN_MISSING');
    expect(t.records.length).toBe(1);
  });

  test('a peer that leaves before it sends its message leaves no open call', async () => {
    const t = await startTestHost(() => [slow(async () => ({}))]);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const stream = client.bidi(listTenants, await bearer(t.operator, audience, Date.now()));
    stream.on('error', () => undefined);
    stream.on('metadata', () => undefined);
    // A message of another call comes back, so the first one's headers are there.
    await client.unary(listTenants, new Uint8Array());
    stream.cancel();
    await until(() => t.records.length === 2);
    expect(t.records[1]?.code).toBe('CANCELLED');
  });

  test('an unknown method is UNIMPLEMENTED', async () => {
    const t = await startTestHost(() => [slow(async () => ({}))]);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const result = await client.unary('cvmp.v1.TenantService/Nothing', new Uint8Array());
    expect(told(result)).toMatch(/^UNIMPLEMENTED/);
  });
});
