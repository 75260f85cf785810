import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ReflectionService } from '@grpc/reflection';

type ReflectionInput = ConstructorParameters<typeof ReflectionService>[0];

/**
 * Server reflection (grpc.reflection.v1 and v1alpha) for these services, with every file that their
 * files import, so that a client needs nothing but the address.
 */
export function createReflection(services: readonly DescService[]): ReflectionService {
  const files = new Map<string, DescFile>();
  for (const service of services) collect(service.file, files);
  const fileDescriptorProtos = [...files.values()].map((file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  // Shaped as @grpc/proto-loader's output, of which the service only reads the descriptors.
  const packages: unknown = { cvmp: { fileDescriptorProtos } };
  return new ReflectionService(packages as ReflectionInput, {
    services: services.map((s) => s.typeName),
  });
}

function collect(file: DescFile, into: Map<string, DescFile>): void {
  if (into.has(file.name)) return;
  into.set(file.name, file);
  for (const dependency of file.dependencies) collect(dependency, into);
}
