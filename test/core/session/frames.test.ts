import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { isErrorCode } from '#core/errors.js';
import { Channel } from '#core/session/channel.js';
import { deriveSessionKeys } from '#core/session/key-schedule.js';
import { suiteOf } from '#core/session/suites.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';
import { collection, ends, handshake, nowMs } from './ends.js';

async function open() {
  const pair = await ends();
  await handshake(pair);
  return pair;
}

describe('sealed frames (protocol.md s.6.2): strict sequence, both directions', () => {
  it.each<[string, (frames: Uint8Array[]) => Uint8Array[]]>([
    ['dropped', ([, second]) => [second!]],
    ['repeated', ([first]) => [first!, first!]],
    ['swapped', ([first, second]) => [second!, first!]],
    ['cut', ([first]) => [first!.subarray(0, first!.length - 1)]],
    ['extended', ([first]) => [new Uint8Array([...first!, 0])]],
    ['empty', () => [new Uint8Array()]],
  ])('a frame that is %s ends the session', async (_, meddle) => {
    for (const [from, to] of [
      ['agent', 'server'],
      ['server', 'agent'],
    ] as const) {
      const pair = await open();
      const frames = [1, 2].map((n) => pair[from].seal(utf8(`message ${n}`)));
      const code = await refusalOf(() => {
        for (const frame of meddle(frames)) pair[to].open(frame);
      });
      expect(code).toBe('SEQUENCE');
      expect(pair[to].closed).toBe(true);
      expect(await refusalOf(() => pair[to].seal(utf8('more')))).toBe('PROTOCOL_ORDER');
    }
  });

  it('a frame is not taken back by its sender, nor by another session', async () => {
    const [one, two] = [await open(), await open()];
    const frame = one.agent.seal(utf8('x'));
    expect(await refusalOf(() => one.agent.open(frame))).toBe('SEQUENCE');
    expect(await refusalOf(() => two.server.open(frame))).toBe('SEQUENCE');
  });

  it('sizes are limited on both sides', async () => {
    const pair = await open();
    expect(await refusalOf(() => pair.server.open(new Uint8Array(16_385)))).toBe('SIZE');
    const next = await open();
    expect(await refusalOf(() => next.agent.seal(new Uint8Array(16_384)))).toBe('SIZE');
    const last = await open();
    const long = new Uint8Array(100_000);
    expect(last.agent.open(last.server.seal(long))).toHaveLength(long.length);
  });
});

describe('order: whatever comes out of order ends the session with PROTOCOL_ORDER', () => {
  const some = new Uint8Array([1]);
  const serverCalls = {
    clientInit: (s) => s.clientInit(some, nowMs),
    evidence: async (s) => s.evidence(some, nowMs),
    accept: (s) => s.accept(),
    seal: async (s) => s.seal(some),
    open: async (s) => s.open(some),
  } satisfies Record<string, (s: Awaited<ReturnType<typeof ends>>['server']) => Promise<unknown>>;
  const agentCalls = {
    clientInit: async (a) => a.clientInit(),
    challenge: (a) => a.challenge(some),
    evidence: async (a) => a.evidence(some, ''),
    accept: (a) => a.accept(some),
    seal: async (a) => a.seal(some),
    open: async (a) => a.open(some),
  } satisfies Record<string, (a: Awaited<ReturnType<typeof ends>>['agent']) => Promise<unknown>>;

  /** Both ends after so many of the steps of a handshake. */
  async function pairAfter(steps: number) {
    const pair = await ends();
    const { agent, server } = pair;
    const frames: Uint8Array[] = [];
    const last = () => frames.at(-1)!;
    const all = [
      async () => frames.push(agent.clientInit()),
      async () => frames.push(await server.clientInit(last(), nowMs)),
      async () => void (await agent.challenge(last())),
      async () => frames.push(agent.evidence(collection, '')),
      async () => void server.evidence(last(), nowMs),
      async () => frames.push(await server.accept()),
      async () => agent.accept(last()),
    ];
    for (const step of all.slice(0, steps)) await step();
    return pair;
  }

  it.each<[steps: number, keyof typeof serverCalls | 'seal']>([
    [0, 'clientInit'],
    [2, 'evidence'],
    [5, 'accept'],
    [6, 'open'],
  ])('server after %i steps takes %s alone', async (steps, allowed) => {
    for (const [name, call] of Object.entries(serverCalls)) {
      if (name === allowed || (allowed === 'open' && name === 'seal')) continue;
      const { server } = await pairAfter(steps);
      expect(await refusalOf(call(server)), name).toBe('PROTOCOL_ORDER');
      expect(server.closed).toBe(true);
    }
  });

  it.each<[steps: number, keyof typeof agentCalls]>([
    [0, 'clientInit'],
    [1, 'challenge'],
    [3, 'evidence'],
    [4, 'accept'],
    [7, 'open'],
  ])('agent after %i steps takes %s alone', async (steps, allowed) => {
    for (const [name, call] of Object.entries(agentCalls)) {
      if (name === allowed || (allowed === 'open' && name === 'seal')) continue;
      const { agent } = await pairAfter(steps);
      expect(await refusalOf(call(agent)), name).toBe('PROTOCOL_ORDER');
      expect(agent.closed).toBe(true);
    }
  });

  it('a second frame while the first is still being worked on', async () => {
    const { agent, server } = await ends();
    const init = agent.clientInit();
    const first = server.clientInit(init, nowMs);
    expect(await refusalOf(server.clientInit(init, nowMs))).toBe('PROTOCOL_ORDER');
    expect(await refusalOf(first)).toBe('PROTOCOL_ORDER');
  });

  it('a session closed in the middle of a step stays closed', async () => {
    const { agent, server } = await ends();
    const challenge = server.clientInit(agent.clientInit(), nowMs);
    server.close();
    expect(await refusalOf(challenge)).toBe('PROTOCOL_ORDER');
    expect(await refusalOf(() => server.evidence(new Uint8Array(), nowMs))).toBe('PROTOCOL_ORDER');
  });
});

describe('hostile frames', () => {
  it('10,000 random frames in random phases: a code each time, never a crash', async () => {
    let pair = await ends();
    let phase = 0;
    const codes = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 96 }),
        fc.nat({ max: 19 }),
        async (frame, wanted) => {
          const { agent, server } = pair;
          if (phase === 0 && wanted > 17) {
            await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
            phase = 1;
          }
          const code = await refusalOf(async () => {
            if (phase === 0) await server.clientInit(frame, nowMs);
            else if (wanted === 18) server.evidence(frame, nowMs);
            else server.open(frame);
          });
          expect(isErrorCode(code)).toBe(true);
          codes.add(code);
          pair = await ends({ server: { identity: pair.identity } });
          phase = 0;
        },
      ),
      { numRuns: 10_000 },
    );
    expect(codes.size).toBeGreaterThan(1);
  });

  it('sound frames with changed bytes: a code, or a handshake that never completes', async () => {
    const { identity } = await ends();
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const { agent, server } = await ends({ server: { identity } });
        await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
        const frame = agent.evidence(collection, 'build');
        frame[at % frame.length]! ^= change;
        const code = await refusalOf(async () => {
          server.evidence(frame, nowMs);
          await agent.accept(await server.accept());
        });
        expect(isErrorCode(code)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});

describe('key material', () => {
  it('is overwritten where it was handed over', () => {
    const shared = crypto.randomBytes(32);
    const id = new Uint8Array(16);
    const keys = deriveSessionKeys(suiteOf(1), id, shared, new Uint8Array(32), new Uint8Array(8));
    expect(shared).toEqual(new Uint8Array(32));
    expect(keys.agentToServer.key).not.toEqual(keys.serverToAgent.key);
    new Channel('agent', id, keys);
    for (const direction of [keys.agentToServer, keys.serverToAgent]) {
      expect(direction).toEqual({ key: new Uint8Array(32), iv: new Uint8Array(12) });
    }
  });
});
