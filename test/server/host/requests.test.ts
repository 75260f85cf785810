import type { DescService } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { type BoundService, bindService, methodName } from '#server/host/handlers.js';
import { bearer } from '../../fakes/callers.js';
import { rightMessage, wrongFields } from '../../wrong-fields.js';
import { audience, startTestHost } from './harness.js';
import { RawClient, told } from './raw-client.js';

/** Handlers that answer an empty message and note that they were reached. */
function noted(service: DescService, reached: string[]): BoundService {
  const handlers = service.methods.map((method) => {
    const unary = async () => {
      reached.push(methodName(method));
      return {};
    };
    async function* streaming() {
      yield await unary();
    }
    return [method.localName, method.methodKind === 'unary' ? unary : streaming];
  });
  return bindService(service, Object.fromEntries(handlers));
}

const services = [CvmService, PolicyService, TenantService];
const methods = services.flatMap((service) => service.methods);

describe('requests are held to the rules of proto/ (issue: bad input)', () => {
  test.each(methods.map((method) => [methodName(method), method] as const))(
    '%s: every fault of every field is INVALID_ARGUMENT naming the field',
    async (name, method) => {
      const reached: string[] = [];
      const t = await startTestHost(() => services.map((service) => noted(service, reached)), {
        grpc: { messageBytesMax: 32 * 1024 * 1024 },
      });
      const client = new RawClient(t.host.grpcAddress, t.certificate);
      const who = method.parent === TenantService ? t.operator : t.acme;
      const authorization = await bearer(who, audience, Date.now());
      const call = (bytes: Uint8Array) =>
        method.methodKind === 'unary'
          ? client.unary(name, bytes, authorization)
          : client.firstOf(name, bytes, authorization);

      expect(told(await call(rightMessage(method.input)))).toBe('OK');
      expect(reached.length).toBe(1);
      const surprises: string[] = [];
      for (const wrong of wrongFields(method.input)) {
        const got = told(await call(wrong.bytes));
        const expected = `INVALID_ARGUMENT/INVALID_FIELD ${wrong.field}`;
        if (got !== expected) surprises.push(`${wrong.field} ${wrong.what}: ${got}`);
      }
      expect(surprises).toEqual([]);
      expect(reached.length).toBe(1);
    },
  );
});
