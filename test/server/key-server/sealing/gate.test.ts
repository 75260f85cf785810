import { describe, expect, test } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { CvmpError } from '#core/errors.js';
import { KeyService } from '#gen/cvmp/v1/key_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import type { BoundService, CallContext } from '#server/host/handlers.js';
import { createLog } from '#server/host/log.js';
import { Readiness } from '#server/host/observe/readiness.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { SealGate } from '#server/key-server/sealing/gate.js';
import type { Provider } from '#server/key-server/sealing/provider.js';
import { masterKeyOf } from '#server/key-server/store/master-key.js';
import { refusalOf } from '../../../refusal.js';

const keyOf = (name: string) => masterKeyOf(new Uint8Array(32), encode([name]));

/** Opens by the entry "right"; "half" is not enough. */
const provider: Provider = {
  kind: 'shamir',
  create: async () => ({ masterKey: keyOf('next'), shares: ['one', 'two'] }),
  entry: () => ({
    entered: 0,
    needed: 2,
    reset: () => undefined,
    async enter(secret) {
      const text = Buffer.from(secret).toString();
      if (text === 'wrong') throw new CvmpError('MASTER_KEY', 'wrong');
      return text === 'right' ? keyOf('first') : undefined;
    },
  }),
};

/** A gate over services that do nothing, and what became of the state behind it. */
async function newGate() {
  const log: string[] = [];
  const state = {
    tenants: { get: async () => undefined },
    resealing: {
      async rekeyMaster(_: unknown, progress: (done: number, total: number) => void) {
        progress(1, 1);
        log.push('rekeyed');
      },
    },
    close: async () => void log.push('closed'),
  } as unknown as KeyServerState;
  const services = [
    {
      service: KeyService,
      methods: [
        {
          kind: 'bidi_streaming',
          method: KeyService.method.session,
          handler: () => ({
            message: () => log.push('message'),
            halfClosed: () => undefined,
            drained: () => undefined,
            closed: () => log.push('stream closed'),
          }),
        },
      ],
    },
    {
      service: TenantService,
      methods: TenantService.methods.map((method) => ({
        kind: 'unary',
        method,
        handler: async () => ({}),
      })),
    },
  ] as unknown as readonly BoundService[];
  const readiness = new Readiness();
  const gate = new SealGate({
    provider,
    describe: () => encode(['first']),
    open: async () => ({ state, services }),
    serviceTypes: [KeyService, TenantService],
    readiness,
    log: createLog('test', 'silent'),
    now: () => 0,
  });
  await gate.start();
  return { gate, log, readiness };
}

const context = {} as CallContext;

/** Opens a stream at a gate, and notes how it ends. */
function stream({ gate, log }: Awaited<ReturnType<typeof newGate>>) {
  const [method] = gate.services[0]!.methods;
  if (method?.kind !== 'bidi_streaming') throw new Error('not a stream');
  const sender = { fail: (error: CvmpError) => log.push(error.code) };
  return method.handler(sender as never, context);
}

const unary = ({ gate }: Awaited<ReturnType<typeof newGate>>) => {
  const [method] = gate.services[1]!.methods;
  if (method?.kind !== 'unary') throw new Error('not unary');
  return refusalOf(method.handler({} as never, context));
};

describe('the gate of a Key Server that can be sealed', () => {
  test('sealed, streams and calls are SEALED and callers are not looked up', async () => {
    const all = await newGate();
    expect(all.readiness.reasons).toEqual(['SEALED']);
    expect(await unary(all)).toBe('SEALED');
    expect(await refusalOf(async () => stream(all))).toBe('SEALED');
    expect(await refusalOf(async () => all.gate.tenants.get('acme'))).toBe('SEALED');
  });

  test('entries are overwritten; the last one opens', async () => {
    const all = await newGate();
    for (const [text, isSealed] of [
      ['half', true],
      ['right', false],
    ] as const) {
      const secret = utf8(text);
      expect((await all.gate.enter(secret)).isSealed).toBe(isSealed);
      expect(secret.every((byte) => byte === 0)).toBe(true);
    }
    expect(all.readiness.isReady).toBe(true);
    expect(await unary(all)).toBe('accepted');
    expect(await refusalOf(all.gate.enter(utf8('right')))).toBe('SEAL_STATE');
  });

  test('seal ends every stream, closes the state, and answers SEALED again', async () => {
    const all = await newGate();
    await all.gate.enter(utf8('right'));
    const left = stream(all);
    left.closed();
    stream(all).message({} as never);
    await all.gate.seal();
    expect(all.log).toEqual(['stream closed', 'message', 'SEALED', 'closed']);
    expect(await unary(all)).toBe('SEALED');
    expect(await refusalOf(all.gate.seal())).toBe('SEAL_STATE');
  });

  test('wrong entries are limited while it is sealed', async () => {
    const { gate } = await newGate();
    const codes: string[] = [];
    for (let i = 0; i < 7; i++) codes.push(await refusalOf(gate.enter(utf8('wrong'))));
    expect(codes).toEqual([...Array<string>(5).fill('MASTER_KEY'), 'RATE', 'RATE']);
  });

  test('a new master key is in force when it is committed, and only the last one prepared', async () => {
    const { gate, log } = await newGate();
    expect(await refusalOf(gate.prepare(provider))).toBe('SEALED');
    await gate.enter(utf8('right'));
    const first = await gate.prepare(provider);
    expect(first.shares).toEqual(['one', 'two']);
    const second = await gate.prepare(provider);
    expect(await refusalOf(gate.commit(first.id, () => undefined))).toBe('NOT_FOUND');
    expect(log).toEqual([]);
    await gate.commit(second.id, () => undefined);
    expect(log).toEqual(['rekeyed']);
    expect(await refusalOf(gate.commit(second.id, () => undefined))).toBe('NOT_FOUND');
  });
});
