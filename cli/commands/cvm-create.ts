import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { type Arguments, command } from '../command.js';
import { cvmFields, cvmOutput } from '../cvm/cvm-text.js';
import {
  configDocument,
  expectedMeasurement,
  guestPolicy,
  requireLaunched,
  signedIdBlock,
} from '../cvm/launch.js';
import { launchOptions, planLaunch, requireAdmitted } from '../cvm/launch-options.js';
import { waitForAgent, waitOptions, waitSeconds } from '../cvm/wait.js';
import { policyOptions } from '../measure/reference-values.js';
import { hexBytes, wholeNumber } from '../terminal/typed.js';

const options = {
  ...launchOptions,
  'memory-mib': { type: 'string', value: 'N', summary: 'Memory in MiB; 512 unless told.' },
  'disk-mib': { type: 'string', value: 'N', summary: 'Disk in MiB; 64 unless told.' },
  svn: {
    type: 'string',
    value: 'N',
    summary: 'GUEST_SVN, in an ID block that your id_block_key signs; none unless told.',
  },
  'secure-boot': { type: 'boolean', summary: 'SecureBoot must be on.' },
  'live-migration': { type: 'boolean', summary: 'LiveMigration must be possible.' },
  bios: { type: 'string', value: 'NAME=VALUE', multiple: true, summary: 'A BIOS setting.' },
  policy: {
    type: 'string',
    value: 'FILE',
    summary: 'Launch only what this policy file admits.',
  },
  ...policyOptions,
  'key-id': {
    type: 'string',
    value: 'HEX',
    summary: 'Take a new Security Key from the root key of this KeyID (re-allocation).',
  },
  'request-id': {
    type: 'string',
    value: 'HEX',
    summary: '16 bytes; to repeat a request whose answer was lost.',
  },
  start: {
    type: 'boolean',
    summary: 'Start it as soon as its launch is verified here; --wait means it too.',
  },
  ...waitOptions,
} as const;

/** `NAME=VALUE` pairs. @throws CvmpError USAGE */
function biosSettings(typed: readonly string[]): Record<string, string> {
  const pairs = typed.map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new CvmpError('USAGE', `--bios ${text} is not NAME=VALUE`);
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return Object.fromEntries(pairs);
}

/** Numbers and bytes among the options. @throws CvmpError USAGE */
function readNumbers({ options: typed }: Arguments<typeof options>) {
  const whole = (name: 'memory-mib' | 'disk-mib' | 'svn', max: number) =>
    wholeNumber(typed[name], name, { min: 1, max, otherwise: 0 });
  return {
    memoryMib: whole('memory-mib', 2 ** 24),
    diskMib: whole('disk-mib', 2 ** 20),
    svn: whole('svn', 2 ** 32 - 1),
    keyId:
      typed['key-id'] === undefined ? new Uint8Array() : hexBytes(typed['key-id'], 'key-id', 16),
    requestId:
      typed['request-id'] === undefined
        ? crypto.randomBytes(16)
        : hexBytes(typed['request-id'], 'request-id', 16),
  };
}

export const cvmCreate = command({
  name: 'cvm create',
  summary: 'Creates a CVM and recomputes its launch measurement here (CVMCreate, Figure 2).',
  examples: [
    'cvmp cvm create web --image sample-v1',
    'cvmp cvm create web --image sample-v2 --svn 2 --policy web.yaml --start',
  ],
  positionals: ['NAME'],
  options,
  notes:
    'The CVM gets a config document that names you, your Key Server and the CVM; the hardware binds\n' +
    'it. What the platform says it will launch must give the measurement computed here. Whether it\n' +
    'told the truth shows when the CVM is started and attests: only then it gets a key.',
  async run(args, context) {
    const { options: typed, positionals } = args;
    const name = positionals[0]!;
    const numbers = readNumbers(args);
    const seconds = waitSeconds(typed, context);
    const profile = await context.profile();
    const cvms = (await context.servers()).cvms();
    const features = await cvms.cVMFeature({ teeTypes: [TeeType.SEV_SNP] });
    const launch = await planLaunch(typed, features, cvms, context);
    const measurement = expectedMeasurement(launch);
    if (typed.policy !== undefined) {
      const values = typed['reference-values'];
      await requireAdmitted(typed.policy, values, measurement, context);
    }

    const document = await configDocument(profile, name);
    const block = numbers.svn > 0 ? await signedIdBlock(profile, measurement, numbers.svn) : {};
    const ownFirmware = typed['auxilary-firmware'] !== undefined;
    const answer = await cvms.cVMCreate({
      requestId: numbers.requestId,
      featureSetId: features.featureSetId,
      tee: TeeType.SEV_SNP,
      name,
      shape: { vcpus: launch.vcpus, vcpuType: launch.vcpuType, memoryMib: numbers.memoryMib },
      imageDigest: launch.image.digest,
      features: {
        secureBoot: typed['secure-boot'],
        liveMigration: typed['live-migration'],
        bios: biosSettings(typed.bios),
        svn: numbers.svn,
        ...(ownFirmware ? { auxilaryFirmware: launch.firmware } : {}),
      },
      snp: { guestPolicy, ...block },
      configDocument: document,
      keyServerAddress: profile.keyServer!.guestAddress ?? profile.keyServer!.address,
      diskMib: numbers.diskMib,
      keyId: numbers.keyId,
    });
    const [cvm] = answer.cvms;
    if (cvm === undefined) throw new CvmpError('INTERNAL', 'the platform answered no CVM');
    requireLaunched(cvm, launch, measurement, document);
    context.terminal.err(`${name}: measurement recomputed here, as the platform predicts it\n`);
    if (!typed.start && !typed.wait) return cvmOutput(cvm, cvmFields(cvm));
    const { cvm: started = cvm } = await cvms.cVMStart({ cvm: cvm.cvmId });
    if (seconds === 0) return cvmOutput(started, cvmFields(started));
    return waitForAgent(cvms, started, seconds, context);
  },
});
