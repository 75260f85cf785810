import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ReflectionService } from '@grpc/reflection';
import { file_cvmp_v1_error } from '#gen/cvmp/v1/error_pb.js';

type ReflectionInput = ConstructorParameters<typeof ReflectionService>[0];

/**
 * Server reflection (grpc.reflection.v1 and v1alpha) for these services, with every file that their
 * files import, and for what errors carry, so that a client needs nothing but the address.
 * grpc.health.v1 is not among them: the descriptor that its package brings is one that strict
 * clients refuse, and health probes know the service by themselves.
 */
export function createReflection(services: readonly DescService[]): ReflectionService {
  const files = new Map<string, DescFile>();
  for (const service of services) collect(service.file, files);
  collect(file_cvmp_v1_error, files);
  const ours = [...files.values()].map((file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  // Shaped as @grpc/proto-loader's output, of which the service only reads the descriptors.
  const packages: unknown = { cvmp: { fileDescriptorProtos: ours } };
  return new ReflectionService(packages as ReflectionInput, {
    services: services.map((s) => s.typeName),
  });
}

function collect(file: DescFile, into: Map<string, DescFile>): void {
  if (into.has(file.name)) return;
  into.set(file.name, file);
  for (const dependency of file.dependencies) collect(dependency, into);
}
