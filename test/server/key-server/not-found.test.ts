import { create, type DescMethod, toBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { toHex } from '#core/bytes.js';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { KeyAdminService } from '#gen/cvmp/v1/key_admin_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { methodName } from '#server/host/handlers.js';
import { bearer } from '../../fakes/callers.js';
import { audience } from '../host/harness.js';
import { type Outcome, RawClient } from '../host/raw-client.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { destructionOrder } from './lifecycle/orders.js';
import { grantOf, newKey, requestId, signedPolicy } from './state.js';

// Another tenant's id and an id of nobody are one answer, made by the same work.

type Whose = 'own' | 'foreign' | 'unknown';
interface Ids {
  readonly keyId: Uint8Array;
  readonly policyId: string;
}

let s: TestKeyServer;
let ids: Record<Whose, Ids>;
let authorization: string;
const reads: string[] = [];

const methods = [KeyAdminService, PolicyService, AuditService].flatMap(
  (service) => service.methods,
);
const named = (method: DescMethod) =>
  method.input.fields.some(({ name }) => ['key_id', 'key_ids', 'policy_id'].includes(name)) ||
  method.name === 'DestroyKey';

/** A request of this method about these ids and otherwise in order. */
async function request(method: DescMethod, { keyId, policyId }: Ids): Promise<Uint8Array> {
  const has = (name: string) => method.input.fields.some((field) => field.name === name);
  const init = {
    ...(has('key_id') && { keyId }),
    ...(has('key_ids') && { keyIds: [keyId] }),
    ...(has('policy_id') && { policyId }),
    ...(has('request_id') && { requestId: requestId() }),
    ...(has('epoch') && { epoch: 1 }),
    ...(has('below') && { below: 2 }),
    ...(has('signed_order') && {
      signedOrder: await destructionOrder(keyId, 1, { signers: [s.tenantKey] }),
    }),
  };
  return toBinary(method.input, create(method.input, init as never));
}

async function begin(): Promise<void> {
  s = await startKeyServer({}, {}, { onRead: (what) => reads.push(what) });
  const owned = async (tenantId: 'acme' | 'globex', policyId: string): Promise<Ids> => {
    const signed = await signedPolicy(s.t[tenantId].key, { tenantId, policyId });
    const policy = await s.state.policies.set(tenantId, signed, { requestId: 'test' });
    const { keyId, securityKey } = await s.state.keys.allocate(
      grantOf(policy, 4),
      requestId(),
      newKey,
    );
    securityKey.fill(0);
    return { keyId, policyId };
  };
  ids = {
    own: await owned('acme', 'web'),
    foreign: await owned('globex', 'theirs'),
    unknown: { keyId: requestId(), policyId: 'nobodys' },
  };
  authorization = await bearer(s.t.acme, audience, Date.now());
}

/** What the peer sees, and the reads behind it, both without the id itself. */
async function ask(method: DescMethod, whose: Whose) {
  const bytes = await request(method, ids[whose]);
  const client = new RawClient(s.t.host.grpcAddress, s.t.certificate);
  reads.length = 0;
  const outcome = await client.unary(methodName(method), bytes, authorization);
  const blank = (text: string) =>
    text
      .replaceAll(toHex(ids[whose].keyId), 'ID')
      .replaceAll(ids[whose].policyId, 'ID')
      .replace(/request\/acme\/[0-9a-f]+/, 'request/acme/REQUEST');
  return { outcome: seen(outcome, blank), reads: reads.map(blank), code: outcome.code };
}

function seen(outcome: Outcome, blank: (text: string) => string) {
  if (!('detail' in outcome)) return { code: outcome.code };
  const { code, field, next, retryAfter } = outcome.detail!;
  const { message } = outcome;
  return { status: outcome.code, message: blank(message), code, field, next, retryAfter };
}

describe('ids of others are ids of nobody (protocol.md s.6.5: no oracle)', () => {
  test('every method of a tenant that takes an id is here', () => {
    expect(methods.filter(named).length).toBeGreaterThan(9);
  });

  test.each(methods.filter(named).map((method) => [method.name, method] as const))(
    '%s',
    async (_, method) => {
      await begin();
      // Once before, so that what is read only the first time is the same for both.
      await ask(method, 'unknown');
      const unknown = await ask(method, 'unknown');
      const foreign = await ask(method, 'foreign');
      expect(foreign).toEqual(unknown);
      expect(unknown.outcome).toMatchObject({ status: 5, code: 'NOT_FOUND' });
      const own = await ask(method, 'own');
      expect(own.outcome).not.toMatchObject({ code: 'NOT_FOUND' });
    },
  );
});
