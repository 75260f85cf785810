import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import {
  type PolicyResponse,
  PolicyResponseSchema,
  type SetKeyPolicy,
} from '#gen/cvmp/v1/policy_pb.js';
import { type CommandContext, command } from '../command.js';
import { policyOptions, withReferenceValues } from '../measure/reference-values.js';
import { checkWritten, completePolicy, parsePolicy } from '../policy/policy-file.js';
import {
  fetchPolicy,
  isSigned,
  openPolicyResponse,
  readSigned,
  signPolicy,
} from '../policy/signed-policy.js';
import { callerKey } from '../profile/speaker.js';
import { fields, type Output } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { readTypedBytes, readTypedText } from '../terminal/typed.js';

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
    'cvmp policy set web.signed',
  ],
  positionals: ['FILE'],
  options: {
    ...policyOptions,
    'dry-run': { type: 'boolean', summary: 'Only say what would happen.' },
  },
  notes:
    'Where FILE leaves them out, tenant_id comes from the profile, and version and prev_digest\n' +
    'from the version in force. A file that says just what is in force changes nothing. FILE may be\n' +
    'what cvmp policy sign wrote, signed by several; it is sent as it is.',
  async run({ positionals: [file], options }, context) {
    const profile = await context.profile();
    const bytes = await readTypedBytes(context, file!);
    const policies = (await context.servers()).policies();
    const made = isSigned(bytes)
      ? { policy: readSigned(bytes), signed: bytes }
      : await signWritten(file!, options['reference-values'], context);
    if ('unchanged' in made) {
      const { policyId, version } = made.unchanged;
      return {
        json: { changed: false, response: null },
        text: `policy ${policyId} version ${version} says so already; nothing changed`,
      };
    }
    const answer = await policies.setKeyPolicy({
      signedPolicy: made.signed,
      dryRun: options['dry-run'],
    });
    if (profile.keyServer === undefined) throw new CvmpError('CONFIG', 'no key_server');
    const response = await openPolicyResponse(answer, made, profile.keyServer);
    return responseOutput(response, context);
  },
});

/** Completes and signs a policy written as YAML; or says that just this is in force. */
async function signWritten(
  file: string,
  referenceValues: readonly string[],
  context: CommandContext,
): Promise<
  | { readonly policy: SetKeyPolicy; readonly signed: Uint8Array }
  | { readonly unchanged: SetKeyPolicy }
> {
  const written = parsePolicy(await readTypedText(context, file), file);
  const { message } = written;
  await withReferenceValues(message, referenceValues, context);
  checkWritten(written);
  const { key, issuer } = await callerKey(await context.profile(), 'tenant');
  const servers = await context.servers();
  const own = { key, issuer };
  const current =
    message.version === 0n ? await fetchPolicy(servers, own, message.policyId) : undefined;
  const policy = completePolicy(written, issuer, current);
  if (policy === undefined) return { unchanged: current!.policy };
  return { policy, signed: await signPolicy(key, policy) };
}
