import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { refusalAtOnce } from '../../refusal.js';
import { ends, handshake } from './ends.js';

describe('attesting again on the same stream (protocol.md s.6.5)', () => {
  it('new nonces, new report data, new keys; both states work until the new one is open', async () => {
    const first = await ends();
    const { demanded } = await handshake(first);
    const second = { agent: first.agent.again(), server: first.server.again() };
    expect(first.server.open(first.agent.seal(utf8('before')))).toEqual(utf8('before'));
    const { demanded: next } = await handshake(second);
    expect(next).not.toEqual(demanded);
    expect(first.agent.open(first.server.seal(utf8('late answer')))).toEqual(utf8('late answer'));
    for (const text of ['one', 'two']) {
      expect(second.server.open(second.agent.seal(utf8(text)))).toEqual(utf8(text));
      expect(second.agent.open(second.server.seal(utf8(text)))).toEqual(utf8(text));
    }
    const third = { agent: second.agent.again(), server: second.server.again() };
    await handshake(third);
    expect(third.server.open(third.agent.seal(utf8('three')))).toEqual(utf8('three'));
  });

  it('frames of one state are none of the other', async () => {
    const first = await ends();
    await handshake(first);
    const second = { agent: first.agent.again(), server: first.server.again() };
    await handshake(second);
    const old = first.agent.seal(utf8('old'));
    expect(refusalAtOnce(() => second.server.open(old))).toBe('SEQUENCE');
  });

  it('who does not hold the session before cannot go on with its stream', async () => {
    const first = await ends();
    await handshake(first);
    const stranger = await ends({ server: { identity: first.identity } });
    for (const spliced of [
      { agent: stranger.agent, server: first.server.again() },
      { agent: first.agent.again(), server: stranger.server },
    ]) {
      await handshake(spliced);
      const frame = spliced.agent.seal(utf8('x'));
      expect(refusalAtOnce(() => spliced.server.open(frame))).toBe('SEQUENCE');
    }
  });

  it('only a session that is open is gone on with', async () => {
    const { agent, server } = await ends();
    expect(() => agent.again()).toThrow(expect.objectContaining({ code: 'PROTOCOL_ORDER' }));
    expect(() => server.again()).toThrow(expect.objectContaining({ code: 'PROTOCOL_ORDER' }));
  });
});
