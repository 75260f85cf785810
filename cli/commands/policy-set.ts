import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type PolicyResponse, PolicyResponseSchema } from '#gen/cvmp/v1/policy_pb.js';
import { callerKey } from '../api.js';
import { type CommandContext, command } from '../command.js';
import { policyOptions, withReferenceValues } from '../measure/reference-values.js';
import { checkWritten, completePolicy, parsePolicy } from '../policy/policy-file.js';
import { fetchPolicy, openPolicyResponse, signPolicy } from '../policy/signed-policy.js';
import { fields, type Output } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { readTypedText } from '../terminal/typed.js';

function responseOutput(response: PolicyResponse, context: CommandContext): Output {
  for (const warning of response.warnings) context.terminal.err(`warning: ${warning}\n`);
  return {
    json: { changed: response.accepted, response: toReadable(PolicyResponseSchema, response) },
    text: fields([
      ['policy', `${response.policyId} version ${response.version}`],
      ['in force', response.accepted ? 'yes' : 'no, this was a dry run'],
      ['SVN floor', String(response.svnFloor)],
      ['keys raised', String(response.keysRaised)],
      ['digest', toHex(response.digest)],
    ]),
  };
}

export const policySet = command({
  name: 'policy set',
  summary: 'Signs a Keying Policy and sets it on the Key Server (SetKeyPolicy, Figure 3).',
  examples: [
    'cvmp policy set web.yaml',
    'cvmp policy set web.yaml --dry-run',
    'cvmp policy set web.yaml --reference-values images.yaml',
  ],
  positionals: ['FILE'],
  options: {
    ...policyOptions,
    'dry-run': { type: 'boolean', summary: 'Only say what would happen.' },
  },
  notes:
    'Where FILE leaves them out, tenant_id comes from the profile, and version and prev_digest\n' +
    'from the version in force. A file that says just what is in force changes nothing.',
  async run({ positionals: [file], options }, context) {
    const written = parsePolicy(await readTypedText(context, file!), file!);
    const { message } = written;
    await withReferenceValues(message, options['reference-values'], context);
    checkWritten(written);
    const profile = await context.profile();
    const { key, issuer } = await callerKey(profile, 'tenant');
    const policies = (await context.servers()).policies();
    const current =
      message.version === 0n ? await fetchPolicy(policies, key, message.policyId) : undefined;
    const policy = completePolicy(written, issuer, current);
    if (policy === undefined) {
      const { policyId, version } = current!.policy;
      return {
        json: { changed: false, response: null },
        text: `policy ${policyId} version ${version} says so already; nothing changed`,
      };
    }
    const signed = await signPolicy(key, policy);
    const answer = await policies.setKeyPolicy({
      signedPolicy: signed,
      dryRun: options['dry-run'],
    });
    if (profile.keyServer === undefined) throw new CvmpError('CONFIG', 'no key_server');
    const response = await openPolicyResponse(answer, { policy, signed }, profile.keyServer);
    return responseOutput(response, context);
  },
});
