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

/** CPU signature that QEMU gives each of its EPYC models. */
export const vcpuTypes: Readonly<Record<string, number>> = {
  EPYC: epyc,
  'EPYC-v1': epyc,
  'EPYC-v2': epyc,
  'EPYC-IBPB': epyc,
  'EPYC-v3': epyc,
  'EPYC-v4': epyc,
  'EPYC-Rome': rome,
  'EPYC-Rome-v1': rome,
  'EPYC-Rome-v2': rome,
  'EPYC-Rome-v3': rome,
  'EPYC-Milan': milan,
  'EPYC-Milan-v1': milan,
  'EPYC-Milan-v2': milan,
  'EPYC-Genoa': genoa,
  'EPYC-Genoa-v1': genoa,
  'EPYC-Turin': turin,
};
