import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import {
  create,
  createFileRegistry,
  fromBinary,
  fromJson,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { describe, expect, test } from 'vitest';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { bindService } from '#server/host/handlers.js';
import { bearer } from '../../fakes/callers.js';
import { noFacts } from '../../fakes/tenants.js';
import { audience, startTestHost, type TestHost } from './harness.js';
import { RawClient } from './raw-client.js';

const require = createRequire(import.meta.url);

interface ReflectionAnswer {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Uint8Array[] };
  readonly errorResponse?: { readonly errorCode: number };
}

/** A client that knows nothing but the address, as grpcurl. */
function reflectionClient(t: TestHost, version: 'v1' | 'v1alpha') {
  const folder = dirname(require.resolve('@grpc/reflection/package.json'));
  const file = join(folder, 'build/proto/grpc/reflection', version, 'reflection.proto');
  const loaded = loadPackageDefinition(loadSync(file)) as never as Record<
    'grpc',
    Record<'reflection', Record<string, Record<'ServerReflection', new (...a: unknown[]) => never>>>
  >;
  const Client = loaded.grpc.reflection[version]!.ServerReflection as never as new (
    ...a: unknown[]
  ) => { ServerReflectionInfo(): NodeJS.ReadWriteStream; close(): void };
  const client = new Client(t.host.grpcAddress, credentials.createSsl(Buffer.from(t.certificate)), {
    'grpc.ssl_target_name_override': 'localhost',
  });
  const stream = client.ServerReflectionInfo();
  const ask = (question: object): Promise<ReflectionAnswer> =>
    new Promise((resolve) => {
      stream.once('data', resolve);
      stream.write(question as never);
    });
  const end = () =>
    new Promise<void>((resolve) => {
      stream.once('end', () => {
        client.close();
        resolve();
      });
      stream.end();
    });
  return { ask, end };
}

function emptyHandlers(service: typeof CvmService | typeof PolicyService) {
  const answer = async () => ({});
  return bindService(
    service as never,
    Object.fromEntries(service.methods.map((method) => [method.localName, answer])) as never,
  );
}

describe.each(['v1', 'v1alpha'] as const)(
  'server reflection %s (issue: foreign clients)',
  (version) => {
    test('with nothing but the address a client lists, resolves and calls', async () => {
      const t = await startTestHost(({ tenants }) => [
        tenantService(tenants, noFacts),
        emptyHandlers(CvmService),
        emptyHandlers(PolicyService),
      ]);
      const { ask, end } = reflectionClient(t, version);
      const listed = await ask({ listServices: '*' });
      const names = listed.listServicesResponse?.service.map((service) => service.name);
      expect(names?.sort()).toEqual([
        'cvmp.v1.CvmService',
        'cvmp.v1.PolicyService',
        'cvmp.v1.TenantService',
      ]);

      // Files by symbol first, then whatever those import, by name, as clients do.
      const files = new Map<string, ReturnType<typeof decodeFile>>();
      const add = (answer: ReflectionAnswer) => {
        for (const bytes of answer.fileDescriptorResponse?.fileDescriptorProto ?? []) {
          const file = decodeFile(bytes);
          files.set(file.name, file);
        }
      };
      for (const fileContainingSymbol of names ?? []) add(await ask({ fileContainingSymbol }));
      for (;;) {
        const missing = [...files.values()]
          .flatMap((file) => file.dependency)
          .find((name) => !files.has(name));
        if (missing === undefined) break;
        const answer = await ask({ fileByFilename: missing });
        expect(answer.errorResponse, missing).toBeUndefined();
        add(answer);
      }
      const registry = createFileRegistry(
        create(FileDescriptorSetSchema, { file: ordered(files) }),
      );
      const method = registry.getService('cvmp.v1.TenantService')?.method['listTenants'];
      const client = new RawClient(t.host.grpcAddress, t.certificate);
      const outcome = await client.unary(
        'cvmp.v1.TenantService/ListTenants',
        toBinary(method!.input, fromJson(method!.input, { pageSize: 1 })),
        await bearer(t.operator, audience, Date.now()),
      );
      const answer = 'answer' in outcome ? fromBinary(method!.output, outcome.answer) : undefined;
      expect(toJson(method!.output, answer!)).toMatchObject({ tenants: [{ tenantId: 'acme' }] });

      expect(
        (await ask({ fileContainingSymbol: 'cvmp.v1.Nothing' })).errorResponse?.errorCode,
      ).toBe(5);
      await end();
    });
  },
);

function decodeFile(bytes: Uint8Array) {
  return fromBinary(FileDescriptorProtoSchema, bytes);
}

/** Dependencies first. */
function ordered(files: ReadonlyMap<string, ReturnType<typeof decodeFile>>) {
  const out = new Set<ReturnType<typeof decodeFile>>();
  const visit = (name: string) => {
    const file = files.get(name)!;
    for (const dependency of file.dependency) visit(dependency);
    out.add(file);
  };
  for (const name of files.keys()) visit(name);
  return [...out];
}
