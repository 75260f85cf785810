import { toHex } from '#core/bytes.js';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { command } from '../command.js';
import { expectedMeasurement } from '../cvm/launch.js';
import { launchOptions, planLaunch } from '../cvm/launch-options.js';

export const imageMeasure = command({
  name: 'image measure',
  summary: 'The launch measurement of an image, computed here: a Reference Value for policies.',
  examples: [
    'cvmp image measure --image sample-v1',
    'cvmp image measure --image sample-v1 --vcpus 4 --firmware OVMF.fd --json',
  ],
  options: launchOptions,
  notes:
    'Kernel, initrd and command line enter by the digests that the platform names: compare them\n' +
    '(--json shows them) with those of your own build before you admit the measurement.',
  async run({ options }, context) {
    const cvms = (await context.servers()).cvms();
    const features = await cvms.cVMFeature({ teeTypes: [TeeType.SEV_SNP] });
    const launch = await planLaunch(options, features, cvms, context);
    const digest = toHex(expectedMeasurement(launch));
    const { image, vcpus, vcpuType, vmmType } = launch;
    return {
      json: {
        measurement: digest,
        image: image.name,
        image_digest: toHex(image.digest),
        firmware_digest: toHex(launch.firmwareDigest),
        kernel_digest: toHex(image.kernelDigest),
        initrd_digest: toHex(image.initrdDigest),
        cmdline: image.cmdline,
        vcpus,
        vcpu_type: vcpuType,
        vmm_type: vmmType,
        guest_features: launch.guestFeatures,
      },
      text: digest,
    };
  },
});
