import { beforeAll, describe, expect, it } from 'vitest';
import { equalBytes, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { decodeCoseKey, ecPublicKey, encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { openSign1, parseSign1, sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import type { Challenge, ClientInit, SessionAccept } from '#core/session/messages.js';
import { crypto } from '#crypto';
import { sessionCodec } from '#wire/session.js';
import { refusalOf } from '../../refusal.js';
import { collection, configDocumentFor, connection, ends, handshake, nowMs } from './ends.js';

const publicOf = (key: EcPrivateKey) => ecPublicKey(key.curve, key.publicPoint);
const typOf = (kind: 'challenge' | 'session-accept') => `application/cvmp-${kind}+protobuf`;

let other: EcPrivateKey;
beforeAll(async () => {
  other = await crypto.generateEcKey('P-256');
});

describe('a sound handshake (protocol.md s.6.2)', () => {
  it.each([
    { offered: [1], accepted: [1, 2], curve: 'P-256' as const },
    { offered: [1, 2], accepted: [1, 2], curve: 'P-384' as const },
    { offered: [2, 1], accepted: [1], curve: 'P-384' as const },
    { offered: [1, 2, 9], accepted: [2], curve: 'P-256' as const },
  ])('suites $offered against $accepted, identity on $curve', async (row) => {
    const identity = await crypto.generateEcKey(row.curve);
    const pair = await ends({
      agent: { suites: row.offered, configDocument: configDocumentFor(other, identity) },
      server: { suites: row.accepted, identity },
    });
    const { demanded, expected, frames } = await handshake(pair);
    expect(demanded).toEqual(expected);
    expect(demanded).toHaveLength(64);
    const highest = Math.max(...row.offered.filter((suite) => row.accepted.includes(suite)));
    const { payload } = await openSign1(frames[1]!, publicOf(identity));
    expect(sessionCodec.challenge.decode(payload).suite).toBe(highest);
    for (const text of ['one', 'two', 'three']) {
      expect(pair.server.open(pair.agent.seal(utf8(text)))).toEqual(utf8(text));
      expect(pair.agent.open(pair.server.seal(utf8(text)))).toEqual(utf8(text));
    }
  });

  it('report data is SHA-512 over the Binding, which names every part', async () => {
    const exportKeyingMaterial = connection();
    const pair = await ends({ agent: { exportKeyingMaterial }, server: { exportKeyingMaterial } });
    const { demanded, frames } = await handshake(pair);
    const [init, challengeFrame, evidenceFrame] = frames;
    const clientInit = sessionCodec.clientInit.decode(init!);
    const challenge = sessionCodec.challenge.decode(parseSign1(challengeFrame!).payload!);
    const evidence = sessionCodec.evidence.decode(evidenceFrame!);
    const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes);
    const binding = encode([
      'CVMP/1 evidence',
      1,
      1,
      challenge.sessionId,
      clientInit.nonceA,
      challenge.nonceK,
      decode(evidence.ephA),
      decode(challenge.ephK),
      thumbprint(publicOf(pair.identity)),
      sha256(evidence.configDocument),
      exportKeyingMaterial('EXPORTER-CVMP-v1', sha256(challengeFrame!), 32),
      sha256(encode([init!, challengeFrame!])),
      null,
    ]);
    expect(demanded).toEqual(crypto.hash('sha512', binding));
  });

  it('without channel binding both ends put null', async () => {
    const none = { exportKeyingMaterial: undefined };
    const { demanded, expected } = await handshake(await ends({ agent: none, server: none }));
    expect(demanded).toEqual(expected);
    const half = await handshake(await ends({ agent: none }));
    expect(half.demanded).not.toEqual(half.expected);
  });
});

describe('the agent aborts before any evidence leaves', () => {
  /** A challenge as the server makes it, changed and signed again. */
  async function refusalOfChallenge(
    change: (challenge: Challenge) => Partial<Challenge>,
    sign: { readonly by?: EcPrivateKey; readonly typ?: string } = {},
  ) {
    const { agent, server, identity } = await ends();
    const frame = await server.clientInit(agent.clientInit(), nowMs);
    const challenge = sessionCodec.challenge.decode(parseSign1(frame).payload!);
    const payload = sessionCodec.challenge.encode({ ...challenge, ...change(challenge) });
    const signed = await sign1(sign.by ?? identity, payload, {
      protected: new Map([[16, sign.typ ?? typOf('challenge')]]),
    });
    const code = await refusalOf(agent.challenge(signed));
    expect(agent.closed).toBe(code !== 'accepted');
    expect(await refusalOf(() => agent.evidence(collection, ''))).toBe(
      code === 'accepted' ? 'accepted' : 'PROTOCOL_ORDER',
    );
    return code;
  }

  it('takes one that is only signed again', async () => {
    expect(await refusalOfChallenge(() => ({}))).toBe('accepted');
  });

  it.each<[string, (challenge: Challenge) => Partial<Challenge>, string]>([
    ['hash of another ClientInit', () => ({ hInit: new Uint8Array(32) }), 'SERVER_UNTRUSTED'],
    ['a version that was not offered', () => ({ version: 2 }), 'VERSION'],
    ['a suite that was not offered', () => ({ suite: 2 }), 'SUITE'],
    ['an unknown suite', () => ({ suite: 7 }), 'INVALID_FIELD'],
    ['evidence not offered', () => ({ requiredProfiles: ['tdx'] }), 'UNSUPPORTED_EVIDENCE'],
    ['a short session id', () => ({ sessionId: new Uint8Array(15) }), 'INVALID_FIELD'],
    ['a short nonce', () => ({ nonceK: new Uint8Array(31) }), 'INVALID_FIELD'],
    ['eph_k that is no key', () => ({ ephK: utf8('key') }), 'MALFORMED'],
    ['ks_key that is no key', () => ({ ksKey: new Uint8Array([0xa0]) }), 'MALFORMED'],
  ])('%s', async (_, change, code) => {
    expect(await refusalOfChallenge(change)).toBe(code);
  });

  it('eph_k of another curve than the suite', async () => {
    const key = await crypto.generateEcKey('P-384');
    const ephK = encodeCoseKey(publicOf(key));
    expect(await refusalOfChallenge(() => ({ ephK }))).toBe('MALFORMED');
  });

  it('a rogue Key Server, with its own key or claiming the genuine one', async () => {
    const rogue = { by: other };
    const ksKey = encodeCoseKey(publicOf(other));
    expect(await refusalOfChallenge(() => ({ ksKey }), rogue)).toBe('SERVER_UNTRUSTED');
    expect(await refusalOfChallenge(() => ({}), rogue)).toBe('SERVER_UNTRUSTED');
  });

  it('another signed message of the genuine Key Server', async () => {
    const typ = typOf('session-accept');
    expect(await refusalOfChallenge(() => ({}), { typ })).toBe('MALFORMED');
  });

  it('any changed byte of the challenge frame', async () => {
    const identity = await crypto.generateEcKey('P-256');
    const randomBytes = (length: number) => new Uint8Array(length);
    const { agent, server } = await ends({ server: { identity }, agent: { randomBytes } });
    const frame = await server.clientInit(agent.clientInit(), nowMs);
    for (let i = 0; i < frame.length; i++) {
      const { agent: fresh } = await ends({ server: { identity }, agent: { randomBytes } });
      fresh.clientInit();
      const changed = frame.slice();
      changed[i]! ^= 1;
      expect(await refusalOf(fresh.challenge(changed)), `byte ${i}`).not.toBe('accepted');
    }
  });

  it('a replayed challenge of an earlier session', async () => {
    const identity = await crypto.generateEcKey('P-256');
    const first = await ends({ server: { identity } });
    const frame = await first.server.clientInit(first.agent.clientInit(), nowMs);
    const second = await ends({ server: { identity } });
    second.agent.clientInit();
    expect(await refusalOf(second.agent.challenge(frame))).toBe('SERVER_UNTRUSTED');
  });

  it('a config document that demands a later protocol', async () => {
    const configDocument = encodeConfigDocument({
      tenantId: 'acme',
      keyServers: [new Uint8Array(32)],
      policyAnchor: new Uint8Array(32),
      cvmName: 'web',
      protocolMin: 2,
    });
    expect(await refusalOf(ends({ agent: { configDocument } }))).toBe('VERSION');
  });
});

describe('the server refuses', () => {
  it.each<[string, Partial<ClientInit>, string]>([
    ['no common version', { versions: [2, 3] }, 'VERSION'],
    ['no common suite', { suites: [9] }, 'SUITE'],
    ['no common evidence', { evidenceProfiles: ['tdx'] }, 'UNSUPPORTED_EVIDENCE'],
    ['an unknown critical extension', { criticalExtensions: ['x'] }, 'UNKNOWN_CRITICAL'],
    ['a short nonce', { nonceA: new Uint8Array(31) }, 'INVALID_FIELD'],
    ['no suite at all', { suites: [] }, 'INVALID_FIELD'],
  ])('%s', async (_, change, code) => {
    const { agent, server } = await ends();
    const init = sessionCodec.clientInit.decode(agent.clientInit());
    const frame = sessionCodec.clientInit.encode({ ...init, ...change });
    expect(await refusalOf(server.clientInit(frame, nowMs))).toBe(code);
    expect(server.closed).toBe(true);
  });

  it('frames beyond their size, before it reads them', async () => {
    const { server } = await ends();
    expect(await refusalOf(server.clientInit(new Uint8Array(4097), nowMs))).toBe('SIZE');
    const next = await ends();
    await next.server.clientInit(next.agent.clientInit(), nowMs);
    const evidence = new Uint8Array(1_114_113);
    expect(await refusalOf(() => next.server.evidence(evidence, nowMs))).toBe('SIZE');
  });

  it('evidence at or after the end of its challenge (60 s), by its own clock', async () => {
    for (const [laterMs, code] of [
      [59_999, 'accepted'],
      [60_000, 'NONCE_EXPIRED'],
    ] as const) {
      const { agent, server } = await ends();
      await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
      const frame = agent.evidence(collection, '');
      expect(await refusalOf(() => server.evidence(frame, nowMs + laterMs))).toBe(code);
    }
  });

  it('a config document that does not name it', async () => {
    const { agent, server } = await ends();
    await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
    const evidence = sessionCodec.evidence.decode(agent.evidence(collection, ''));
    const configDocument = configDocumentFor(other);
    const frame = sessionCodec.evidence.encode({ ...evidence, configDocument });
    expect(await refusalOf(() => server.evidence(frame, nowMs))).toBe('CONFIG_MISMATCH');
  });

  it('an ephemeral key of another curve, or off its curve', async () => {
    const wrong = encodeCoseKey(publicOf(await crypto.generateEcKey('P-384')));
    const off = encodeCoseKey({ curve: 'P-256', point: new Uint8Array(65).fill(4) });
    for (const ephA of [wrong, off]) {
      const { agent, server } = await ends();
      await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
      const evidence = sessionCodec.evidence.decode(agent.evidence(collection, ''));
      const frame = sessionCodec.evidence.encode({ ...evidence, ephA });
      const code = await refusalOf(async () => {
        server.evidence(frame, nowMs);
        await server.accept();
      });
      expect(code).toBe('MALFORMED');
    }
  });
});

describe('evidence fits one session alone (protocol.md s.6.6)', () => {
  /** Whether report data that one agent was told fits what another server expects. */
  async function fits(
    change: Parameters<typeof ends>[0],
    meddle: (frame: Uint8Array) => Uint8Array = (frame) => frame,
  ): Promise<boolean> {
    const { agent, server } = await ends(change);
    const demand = await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
    const received = server.evidence(meddle(agent.evidence(collection, '')), nowMs);
    return equalBytes(demand.reportData, received.reportData);
  }

  it('the same connection', async () => {
    expect(await fits({})).toBe(true);
  });

  it('not through a relay that ends TLS: the exporters differ', async () => {
    expect(await fits({ agent: { exportKeyingMaterial: connection() } })).toBe(false);
  });

  it('not with an ephemeral key of the attacker', async () => {
    const ephA = encodeCoseKey(publicOf(other));
    const meddle = (frame: Uint8Array) =>
      sessionCodec.evidence.encode({ ...sessionCodec.evidence.decode(frame), ephA });
    expect(await fits({}, meddle)).toBe(false);
  });

  it('not with another config document', async () => {
    const identity = await crypto.generateEcKey('P-256');
    const configDocument = configDocumentFor(identity, other);
    const meddle = (frame: Uint8Array) =>
      sessionCodec.evidence.encode({ ...sessionCodec.evidence.decode(frame), configDocument });
    expect(await fits({ server: { identity } }, meddle)).toBe(false);
  });

  it('not replayed in a second session, even on the same connection', async () => {
    const identity = await crypto.generateEcKey('P-256');
    const exportKeyingMaterial = connection();
    const options = { agent: { exportKeyingMaterial }, server: { identity, exportKeyingMaterial } };
    const first = await ends(options);
    const demand = await first.agent.challenge(
      await first.server.clientInit(first.agent.clientInit(), nowMs),
    );
    const captured = first.agent.evidence(collection, '');
    const second = await ends(options);
    await second.server.clientInit(second.agent.clientInit(), nowMs);
    const replayed = second.server.evidence(captured, nowMs);
    expect(replayed.reportData).not.toEqual(demand.reportData);
  });

  it('a ClientInit changed on the way never gets as far as evidence', async () => {
    const { agent, server } = await ends({ agent: { suites: [1, 2] } });
    const init = sessionCodec.clientInit.decode(agent.clientInit());
    const downgraded = sessionCodec.clientInit.encode({ ...init, suites: [1] });
    const challenge = await server.clientInit(downgraded, nowMs);
    expect(await refusalOf(agent.challenge(challenge))).toBe('SERVER_UNTRUSTED');
  });
});

describe('the acceptance', () => {
  async function refusalOfAccept(
    change: (accept: SessionAccept) => Partial<SessionAccept>,
    sign: { readonly by?: EcPrivateKey; readonly typ?: string } = {},
  ) {
    const { agent, server, identity } = await ends();
    await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
    server.evidence(agent.evidence(collection, ''), nowMs);
    const accept = sessionCodec.accept.decode(parseSign1(await server.accept()).payload!);
    const payload = sessionCodec.accept.encode({ ...accept, ...change(accept) });
    const frame = await sign1(sign.by ?? identity, payload, {
      protected: new Map([[16, sign.typ ?? typOf('session-accept')]]),
    });
    return refusalOf(agent.accept(frame));
  }

  it('names this session and this transcript, and is the Key Server’s', async () => {
    expect(await refusalOfAccept(() => ({}))).toBe('accepted');
    const sessionId = new Uint8Array(16);
    expect(await refusalOfAccept(() => ({ sessionId }))).toBe('BINDING_MISMATCH');
    const transcript = new Uint8Array(32);
    expect(await refusalOfAccept(() => ({ transcript }))).toBe('BINDING_MISMATCH');
    expect(await refusalOfAccept(() => ({}), { by: other })).toBe('SERVER_UNTRUSTED');
    expect(await refusalOfAccept(() => ({}), { typ: typOf('challenge') })).toBe('MALFORMED');
  });

  it('two ends that saw different evidence frames do not agree', async () => {
    const { agent, server } = await ends();
    await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
    const evidence = sessionCodec.evidence.decode(agent.evidence(collection, 'genuine'));
    const changed = sessionCodec.evidence.encode({ ...evidence, agentBuild: 'changed' });
    server.evidence(changed, nowMs);
    expect(await refusalOf(agent.accept(await server.accept()))).toBe('BINDING_MISMATCH');
  });

  it('a frame that only the signature differs in gives other keys', async () => {
    const { agent, server, identity } = await ends();
    await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
    server.evidence(agent.evidence(collection, ''), nowMs);
    const { payload } = parseSign1(await server.accept());
    const again = await sign1(identity, payload!, {
      protected: new Map([[16, typOf('session-accept')]]),
    });
    await agent.accept(again);
    expect(await refusalOf(() => server.open(agent.seal(utf8('x'))))).toBe('SEQUENCE');
  });
});

it('a challenge carries the key that its kid names', async () => {
  const { agent, server, identity } = await ends();
  const frame = await server.clientInit(agent.clientInit(), nowMs);
  const { headers, payload } = await openSign1(frame, publicOf(identity));
  const { ksKey } = sessionCodec.challenge.decode(payload);
  expect(headers.protected.get(4)).toEqual(thumbprint(decodeCoseKey(ksKey, 'ks_key')));
});
