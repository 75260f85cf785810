import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { label } from '#core/cose/headers.js';
import { ecPublicKey } from '#core/cose/key.js';
import { sign1 } from '#core/cose/sign1.js';
import { crypto } from '#crypto';
import { sessionCodec } from '#wire/session.js';
import { refusalOf } from '../../refusal.js';
import { collection, ends, nowMs } from './ends.js';

/** A credential that says its secret: what a TPM does with it is its own business. */
const seal = async (secret: Uint8Array) => ({
  credentialBlob: secret.slice(),
  encryptedSecret: Uint8Array.of(1),
});

/** Both ends up to the evidence, which is taken. */
async function attested(pair = ends()) {
  const both = await pair;
  const { agent, server } = both;
  await agent.challenge(await server.clientInit(agent.clientInit(), nowMs));
  server.evidence(agent.evidence(collection, 'test'), nowMs);
  return both;
}

/** Up to the agent's answer, not yet taken. */
async function answered() {
  const both = await attested();
  const credential = await both.server.credential(seal);
  const { credentialBlob } = await both.agent.credential(credential);
  return { ...both, credential, activation: both.agent.activation(credentialBlob.slice()) };
}

describe('credential activation in a session (protocol.md s.4 AK trust a, s.6.2)', () => {
  it('goes on to the acceptance, and both ends agree on the keys', async () => {
    const { agent, server, activation } = await answered();
    server.activation(activation, nowMs);
    await agent.accept(await server.accept());
    expect(server.open(agent.seal(utf8('one')))).toEqual(utf8('one'));
    expect(agent.open(server.seal(utf8('two')))).toEqual(utf8('two'));
  });

  it('neither the secret nor the same proof twice crosses the wire', async () => {
    const [a, b] = [await answered(), await answered()];
    const { proof } = sessionCodec.activation.decode(a.activation);
    expect(sessionCodec.activation.decode(b.activation).proof).not.toEqual(proof);
    const secret = (await answered()).credential;
    expect(secret).not.toEqual(proof);
  });

  it('the secret is overwritten at both ends', async () => {
    const { agent, server } = await attested();
    let kept: Uint8Array = new Uint8Array();
    const frame = await server.credential(async (secret) => {
      kept = secret;
      return seal(secret);
    });
    expect(kept).toEqual(new Uint8Array(32));
    const { credentialBlob: secret } = await agent.credential(frame);
    agent.activation(secret);
    expect(secret.every((byte) => byte === 0)).toBe(true);
  });

  it('a wrong secret is refused, and the session is over', async () => {
    const { agent, server } = await attested();
    await agent.credential(await server.credential(seal));
    const wrong = agent.activation(new Uint8Array(32));
    expect(await refusalOf(() => server.activation(wrong, nowMs))).toBe('AK_UNTRUSTED');
    expect(server.closed).toBe(true);
    expect(await refusalOf(server.accept())).toBe('PROTOCOL_ORDER');
  });

  it('an answer of another session is refused', async () => {
    const [mine, other] = [await answered(), await answered()];
    const work = () => mine.server.activation(other.activation, nowMs);
    expect(await refusalOf(work)).toBe('AK_UNTRUSTED');
  });

  it('nothing is accepted while the answer is missing', async () => {
    const { server } = await attested();
    await server.credential(seal);
    expect(await refusalOf(server.accept())).toBe('PROTOCOL_ORDER');
  });

  it('an answer counts once, and never without a credential', async () => {
    const { server, activation } = await answered();
    server.activation(activation, nowMs);
    expect(await refusalOf(() => server.activation(activation, nowMs))).toBe('PROTOCOL_ORDER');
    const unasked = await attested();
    const work = () => unasked.server.activation(activation, nowMs);
    expect(await refusalOf(work)).toBe('PROTOCOL_ORDER');
  });

  it('a second credential is out of order', async () => {
    const { server } = await attested();
    await server.credential(seal);
    expect(await refusalOf(server.credential(seal))).toBe('PROTOCOL_ORDER');
  });

  it('an answer after the end of the challenge is refused', async () => {
    const { server, activation } = await answered();
    const late = () => server.activation(activation, nowMs + 60_000);
    expect(await refusalOf(late)).toBe('NONCE_EXPIRED');
  });

  it('an answer of another shape is refused', async () => {
    const { server } = await answered();
    const work = () => server.activation(Uint8Array.of(0x0a, 1, 1), nowMs);
    expect(await refusalOf(work)).toBe('INVALID_FIELD');
    const { server: second } = await answered();
    const long = () => second.activation(new Uint8Array(257), nowMs);
    expect(await refusalOf(long)).toBe('SIZE');
  });

  it('a credential that cannot be made ends the session', async () => {
    const { server } = await attested();
    const work = server.credential(() => Promise.reject(new TypeError('no key')));
    await expect(work).rejects.toThrow('no key');
    expect(server.closed).toBe(true);
  });
});

describe('what the agent opens credentials for', () => {
  const frameOf = async (
    identity: Parameters<typeof sign1>[0],
    sessionId: Uint8Array,
    typ = 'application/cvmp-credential+protobuf',
  ) =>
    sign1(
      identity,
      sessionCodec.credential.encode({ sessionId, ...(await seal(new Uint8Array(32))) }),
      { protected: new Map([[label.typ, typ]]) },
    );

  it('not for another signer: SERVER_UNTRUSTED', async () => {
    const { agent } = await attested();
    const other = await crypto.generateEcKey('P-256');
    expect(ecPublicKey(other.curve, other.publicPoint).curve).toBe('P-256');
    const frame = await frameOf(other, new Uint8Array(16));
    expect(await refusalOf(agent.credential(frame))).toBe('SERVER_UNTRUSTED');
  });

  it('not for another session of the same server: BINDING_MISMATCH', async () => {
    const { agent, identity } = await attested();
    const frame = await frameOf(identity, new Uint8Array(16));
    expect(await refusalOf(agent.credential(frame))).toBe('BINDING_MISMATCH');
  });

  it('not where an acceptance stands for a credential', async () => {
    const { agent, server } = await attested();
    const accept = await server.accept();
    expect(await refusalOf(agent.credential(accept))).not.toBeUndefined();
    expect(agent.closed).toBe(true);
  });

  it('an acceptance that passes over the answer does not fit', async () => {
    const { agent, server } = await attested();
    const accept = await server.accept();
    const { agent: asked, server: asking } = await attested();
    const { credentialBlob } = await asked.credential(await asking.credential(seal));
    asked.activation(credentialBlob);
    expect(await refusalOf(asked.accept(accept))).toBe('SERVER_UNTRUSTED');
    expect(agent.closed).toBe(false);
  });
});
