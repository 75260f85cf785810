import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { command } from '../command.js';
import { policyYaml } from '../policy/policy-file.js';
import { fetchPolicy } from '../policy/signed-policy.js';
import { callerKey } from '../profile/speaker.js';
import { toReadable } from '../terminal/readable.js';
import { wholeNumber } from '../terminal/typed.js';

export const policyShow = command({
  name: 'policy show',
  summary: 'A Keying Policy as you signed it, as YAML.',
  examples: ['cvmp policy show web', 'cvmp policy show web --version 1'],
  positionals: ['POLICY'],
  options: {
    version: { type: 'string', value: 'N', summary: 'Of this version; the current unless told.' },
  },
  notes: 'Your signature on it is verified; the server cannot show another policy as yours.',
  async run({ positionals: [policyId], options }, context) {
    const range = { min: 1, max: Number.MAX_SAFE_INTEGER, otherwise: 0 };
    const version = wholeNumber(options.version, 'version', range);
    const own = await callerKey(await context.profile(), 'tenant');
    const found = await fetchPolicy(await context.servers(), own, policyId!, BigInt(version));
    if (found === undefined) {
      throw new CvmpError('NOT_FOUND', `there is no policy ${policyId} of this version`);
    }
    const digest = toHex(found.digest);
    return {
      json: { policy: toReadable(SetKeyPolicySchema, found.policy), digest },
      text: `# SHA-256 of the signed policy: ${digest}\n${policyYaml(found.policy).trimEnd()}`,
    };
  },
});
