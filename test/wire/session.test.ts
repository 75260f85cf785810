import { describe, expect, it } from 'vitest';
import { concat, fromHex } from '#core/bytes.js';
import { sessionCodec } from '#wire/session.js';
import { refusalOf } from '../refusal.js';

const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill);

const messages = {
  clientInit: {
    versions: [1],
    suites: [1, 2],
    nonceA: bytes(32, 1),
    evidenceProfiles: ['snp'],
    criticalExtensions: [],
    lastCheckpoints: [bytes(230, 14)],
  },
  challenge: {
    sessionId: bytes(16, 2),
    version: 1,
    suite: 2,
    nonceK: bytes(32, 3),
    ephK: bytes(75, 4),
    requiredProfiles: ['snp'],
    notAfter: 1_800_000_060,
    hInit: bytes(32, 5),
    ksKey: bytes(75, 6),
    checkpoint: bytes(230, 11),
    consistencyPath: [bytes(32, 12), bytes(32, 13)],
  },
  evidence: {
    ephA: bytes(75, 7),
    configDocument: bytes(100, 8),
    cmwCollection: bytes(2000, 9),
    agentBuild: 'cvmp-agent 0.1.0',
    instanceKey: new Uint8Array(),
    instanceProof: new Uint8Array(),
  },
  accept: { sessionId: bytes(16, 2), transcript: bytes(48, 10) },
};

/** Field 1000, a varint. */
const unknownField = fromHex('c03e01');

describe('handshake messages as Protobuf', () => {
  it('come back as they went', () => {
    const { clientInit, challenge, evidence, accept } = sessionCodec;
    expect(clientInit.decode(clientInit.encode(messages.clientInit))).toMatchObject(
      messages.clientInit,
    );
    expect(challenge.decode(challenge.encode(messages.challenge))).toMatchObject(
      messages.challenge,
    );
    expect(evidence.decode(evidence.encode(messages.evidence))).toMatchObject(messages.evidence);
    expect(accept.decode(accept.encode(messages.accept))).toMatchObject(messages.accept);
  });

  it('what the agent says is read as a whole or not at all; answers may grow', async () => {
    const { clientInit, challenge, evidence, accept } = sessionCodec;
    const asked = [
      () => clientInit.decode(concat(clientInit.encode(messages.clientInit), unknownField)),
      () => evidence.decode(concat(evidence.encode(messages.evidence), unknownField)),
    ];
    for (const read of asked) expect(await refusalOf(read)).toBe('INVALID_FIELD');
    const answers = [
      () => challenge.decode(concat(challenge.encode(messages.challenge), unknownField)),
      () => accept.decode(concat(accept.encode(messages.accept), unknownField)),
    ];
    for (const read of answers) expect(await refusalOf(read)).toBe('accepted');
  });

  it('bytes that are no message are MALFORMED or name their field', async () => {
    for (const codec of Object.values(sessionCodec)) {
      for (const hex of ['ff', '0a', '0affffffff0f', '00']) {
        const code = await refusalOf(() => codec.decode(fromHex(hex)));
        expect(['MALFORMED', 'INVALID_FIELD']).toContain(code);
      }
    }
  });
});
