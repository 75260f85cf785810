import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a Linux host says of itself, as far as CVMs need it. */
export interface HostFacts {
  readonly vendor: 'AMD' | 'Intel' | 'another';
  readonly cpuFlags: ReadonlySet<string>;
  /** Major and minor: 6.11 is [6, 11]. */
  readonly kernel: readonly [major: number, minor: number];
  readonly kernelText: string;
  /** Value of a module's parameter; undefined where module or parameter is not there. */
  readonly parameter: (module: string, name: string) => string | undefined;
  readonly has: (path: string) => boolean;
  /** Devices are translated by an IOMMU. */
  readonly hasIommu: boolean;
}

/** @param root where /proc, /sys and /dev are found: `/` */
export function readHostFacts(root: string): HostFacts {
  const read = (path: string) => {
    try {
      return readFileSync(join(root, path), 'utf8').trim();
    } catch {
      return undefined;
    }
  };
  const cpu = read('proc/cpuinfo') ?? '';
  const vendor = /^vendor_id\s*:\s*(.*)$/m.exec(cpu)?.[1];
  const kernelText = read('proc/sys/kernel/osrelease') ?? '';
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernelText) ?? [];
  return {
    vendor: vendor === 'AuthenticAMD' ? 'AMD' : vendor === 'GenuineIntel' ? 'Intel' : 'another',
    cpuFlags: new Set((/^flags\s*:\s*(.*)$/m.exec(cpu)?.[1] ?? '').split(/\s+/)),
    kernel: [Number(major ?? 0), Number(minor ?? 0)],
    kernelText,
    parameter: (module, name) => read(`sys/module/${module}/parameters/${name}`),
    has: (path) => existsSync(join(root, path)),
    hasIommu: entries(join(root, 'sys/kernel/iommu_groups')) > 0,
  };
}

function entries(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch {
    return 0;
  }
}
