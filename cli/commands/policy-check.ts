import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { command } from '../command.js';
import { policyOptions, withReferenceValues } from '../measure/reference-values.js';
import { checkWritten, parsePolicy } from '../policy/policy-file.js';
import { toReadable } from '../terminal/readable.js';
import { readTypedText } from '../terminal/typed.js';

export const policyCheck = command({
  name: 'policy check',
  summary: 'Holds a policy file to every rule that needs no server.',
  examples: ['cvmp policy check web.yaml'],
  positionals: ['FILE'],
  options: policyOptions,
  async run({ positionals: [file], options }, context) {
    const written = parsePolicy(await readTypedText(context, file!), file!);
    await withReferenceValues(written.message, options['reference-values'], context);
    const { policyId, levels, cvmNames } = checkWritten(written);
    return {
      json: { sound: true, policy: toReadable(SetKeyPolicySchema, written.message) },
      text: `${file}: policy ${policyId} for ${cvmNames.join(', ')} is sound; it has ${levels.length} SVN levels`,
    };
  },
});
