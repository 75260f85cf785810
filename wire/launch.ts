import { CvmpError } from '#core/errors.js';
import type { LaunchInputs } from '#core/snp/launch/measure.js';
import { vcpuTypes } from '#core/snp/launch/vcpu-types.js';
import type { VmmType } from '#core/snp/launch/vmsa.js';
import type { LaunchInputs as LaunchInputsMessage } from '#gen/cvmp/v1/platform_pb.js';

const vmmTypes: readonly string[] = ['QEMU', 'EC2', 'GCE'] satisfies readonly VmmType[];

/**
 * What enters a launch measurement, from what a platform says that it launched.
 * @param firmware whose digest the message names; compared by the caller
 * @throws CvmpError MALFORMED where the vCPU or VMM type is not known
 */
export function launchInputs(
  message: Pick<
    LaunchInputsMessage,
    'kernelDigest' | 'initrdDigest' | 'cmdline' | 'vcpus' | 'vcpuType' | 'guestFeatures' | 'vmmType'
  >,
  firmware: Uint8Array,
): LaunchInputs {
  const { vcpus, vcpuType, vmmType } = message;
  const cpuSignature = Object.hasOwn(vcpuTypes, vcpuType) ? vcpuTypes[vcpuType] : undefined;
  if (cpuSignature === undefined) {
    const known = Object.keys(vcpuTypes).join(', ');
    const why = `the vCPU type "${vcpuType}" is none of ${known}`;
    throw new CvmpError('MALFORMED', why, { field: 'vcpu_type' });
  }
  if (!vmmTypes.includes(vmmType)) {
    const why = `the VMM type "${vmmType}" is none of ${vmmTypes.join(', ')}`;
    throw new CvmpError('MALFORMED', why, { field: 'vmm_type' });
  }
  return {
    firmware,
    boot: {
      kernelDigest: message.kernelDigest,
      initrdDigest: message.initrdDigest,
      cmdline: message.cmdline,
    },
    vcpus,
    cpuSignature,
    guestFeatures: message.guestFeatures,
    vmmType: vmmType as VmmType,
  };
}
