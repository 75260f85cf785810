import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { validate } from '#wire/validate.js';
import { command } from '../command.js';
import { parsePolicy } from '../policy-file.js';
import { toReadable } from '../readable.js';
import { readTypedText } from '../typed.js';

/** Stands in for what `policy set` fills in, so that the rest can be held to its rules. */
const filledIn = { tenantId: 'tenant', version: 1n };

export const policyCheck = command({
  name: 'policy check',
  summary: 'Holds a policy file to every rule that needs no server.',
  examples: ['cvmp policy check web.yaml'],
  positionals: ['FILE'],
  options: {},
  async run({ positionals: [file] }, context) {
    const written = parsePolicy(await readTypedText(context, file!), file!);
    const whole = {
      ...written,
      tenantId: written.tenantId || filledIn.tenantId,
      version: written.version || filledIn.version,
    };
    validate(SetKeyPolicySchema, whole);
    const { policyId, levels, cvmNames } = written;
    return {
      json: { policy: toReadable(SetKeyPolicySchema, written), sound: true },
      text: `${file}: policy ${policyId} for ${cvmNames.join(', ')} is sound, ${levels.length} levels`,
    };
  },
});
