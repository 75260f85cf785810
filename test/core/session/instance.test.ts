import { describe, expect, it } from 'vitest';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { proveInstance, provenInstance } from '#core/session/instance.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';
import { collection, ends, nowMs } from './ends.js';

const bound = new Uint8Array(64).fill(5);

describe('the key that names a run of an agent (protocol.md s.6.2, s.6.4)', () => {
  it('enters the Binding, and its proof names it', async () => {
    const instanceKey = await crypto.generateEcKey('P-256');
    const { agent, server } = await ends({ agent: { instanceKey } });
    const { reportData } = await agent.challenge(
      await server.clientInit(agent.clientInit(), nowMs),
    );
    const evidence = server.evidence(agent.evidence(collection, 'test'), nowMs);
    expect(evidence.reportData).toEqual(reportData);
    const name = thumbprint(ecPublicKey(instanceKey.curve, instanceKey.publicPoint));
    expect(await provenInstance(evidence.instance, evidence.reportData)).toEqual(name);
    const proof = evidence.instance!;
    expect(await refusalOf(provenInstance(proof, bound))).toBe('BINDING_MISMATCH');
  });

  it('somebody else’s key is nobody’s name; without one there is none', async () => {
    const [own, other] = [await crypto.generateEcKey('P-256'), await crypto.generateEcKey('P-256')];
    const key = ecPublicKey(other.curve, other.publicPoint);
    const proof = await proveInstance(own, bound);
    expect(await refusalOf(provenInstance({ key, proof }, bound))).toBe('SIGNATURE_INVALID');
    expect(await provenInstance(undefined, bound)).toBeUndefined();
  });
});
