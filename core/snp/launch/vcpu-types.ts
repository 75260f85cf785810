/**
 * CPUID Fn0000_0001_EAX (AMD publication 25481): extended family and model in the upper half.
 * @param family with the extended part added: 25 for 19h
 */
export function cpuSignature(family: number, model: number, stepping: number): number {
  const low = Math.min(family, 0xf);
  const high = family - low;
  return (high << 20) | ((model >> 4) << 16) | (low << 8) | ((model & 0xf) << 4) | stepping;
}

const epyc = cpuSignature(23, 1, 2);
const rome = cpuSignature(23, 49, 0);
const milan = cpuSignature(25, 1, 1);
const genoa = cpuSignature(25, 17, 0);
const turin = cpuSignature(26, 0, 0);

/** Versions that QEMU has of each model; none of them changes the signature. */
const models: readonly (readonly [name: string, versions: number, signature: number])[] = [
  ['EPYC', 5, epyc],
  ['EPYC-Rome', 5, rome],
  ['EPYC-Milan', 3, milan],
  ['EPYC-Genoa', 2, genoa],
  ['EPYC-Turin', 1, turin],
];

/** CPU signature that QEMU gives each of its EPYC models. */
export const vcpuTypes: Readonly<Record<string, number>> = {
  'EPYC-IBPB': epyc,
  ...Object.fromEntries(
    models.flatMap(([name, versions, signature]) => [
      [name, signature],
      ...Array.from({ length: versions }, (_, i) => [`${name}-v${i + 1}`, signature]),
    ]),
  ),
};
