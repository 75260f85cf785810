import { CvmpError } from '#core/errors.js';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { command } from '../command.js';
import { cvmFields, cvmOutput } from '../cvm/cvm-text.js';
import {
  configDocument,
  expectedMeasurement,
  guestPolicy,
  requireLaunched,
  signedIdBlock,
} from '../cvm/launch.js';
import { launchOptions, planLaunch, requireAdmitted } from '../cvm/launch-options.js';
import { policyOptions } from '../measure/reference-values.js';
import { wholeNumber } from '../terminal/typed.js';

export const cvmUpdate = command({
  name: 'cvm update',
  summary: 'Puts another image or SVN under a stopped CVM; its disk stays (CVMUpdate).',
  examples: ['cvmp cvm update web --image sample-v2 --svn 2', 'cvmp cvm start web --wait'],
  positionals: ['NAME'],
  options: {
    image: launchOptions.image,
    firmware: launchOptions.firmware,
    svn: {
      type: 'string',
      value: 'N',
      summary: 'GUEST_SVN, in an ID block that your id_block_key signs; none unless told.',
    },
    policy: { type: 'string', value: 'FILE', summary: 'Launch only what this policy file admits.' },
    ...policyOptions,
  },
  notes:
    'At its next start the Key Agent changes the key of the disk to the new SVN and raises the\n' +
    'floor of the key: from then on the old image gets no key.',
  async run({ positionals, options: typed }, context) {
    const name = positionals[0]!;
    const svn = wholeNumber(typed.svn, 'svn', { min: 1, max: 2 ** 32 - 1, otherwise: 0 });
    const profile = await context.profile();
    const cvms = (await context.servers()).cvms();
    const features = await cvms.cVMFeature({ teeTypes: [TeeType.SEV_SNP] });
    const { cvm: before } = await cvms.cVMGet({ cvm: name });
    const inputs = before?.launchInputs;
    if (before === undefined || inputs === undefined) {
      throw new CvmpError('INTERNAL', 'the platform does not say what it launched');
    }
    const vcpu = { vcpus: String(inputs.vcpus), 'vcpu-type': inputs.vcpuType };
    const none = { 'auxilary-firmware': undefined };
    const launch = await planLaunch({ ...typed, ...vcpu, ...none }, features, cvms, context);
    const measurement = expectedMeasurement(launch);
    if (typed.policy !== undefined) {
      const values = typed['reference-values'];
      await requireAdmitted(typed.policy, values, measurement, context);
    }
    const block = svn > 0 ? await signedIdBlock(profile, measurement, svn) : {};
    const { cvm } = await cvms.cVMUpdate({
      cvm: name,
      imageDigest: launch.image.digest,
      snp: { guestPolicy, ...block },
      svn,
    });
    if (cvm === undefined) throw new CvmpError('INTERNAL', 'the platform answered no CVM');
    requireLaunched(cvm, launch, measurement, await configDocument(profile, cvm.name));
    return cvmOutput(cvm, cvmFields(cvm));
  },
});
