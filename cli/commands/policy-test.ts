import { create } from '@bufbuild/protobuf';
import { CvmpError } from '#core/errors.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { checkFirst, checkSuccessor } from '#core/keying/policy-rules.js';
import { crypto } from '#crypto';
import { type SetKeyPolicy, SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { knownFormats, policyOf } from '#wire/policy.js';
import { type CommandContext, command } from '../command.js';
import { verifyEvidenceFiles } from '../evidence/evidence.js';
import { policyOptions, withReferenceValues } from '../measure/reference-values.js';
import { evidenceRow, type ImpactRow, impactOutput, serverRows } from '../policy/impact.js';
import { checkWritten, completePolicy, parsePolicy } from '../policy/policy-file.js';
import {
  fetchPolicy,
  isSigned,
  openPolicyResponse,
  readSigned,
  signPolicy,
} from '../policy/signed-policy.js';
import { callerKey } from '../profile/speaker.js';
import type { Output } from '../terminal/output.js';
import { readTypedBytes, readTypedText, typedTime } from '../terminal/typed.js';

const file = { type: 'string', value: 'FILE', multiple: true } as const;

export const policyTest = command({
  name: 'policy test',
  summary: 'Says who would gain and who would lose access by a policy, and why; changes nothing.',
  examples: [
    'cvmp policy test web.yaml',
    'cvmp policy test web.yaml --evidence web-1.evidence --evidence web-2.evidence',
    'cvmp policy test web-2.yaml --against web-1.yaml --evidence web-1.evidence --json',
  ],
  positionals: ['FILE'],
  options: {
    ...policyOptions,
    evidence: { ...file, summary: 'Recorded evidence to replay (cvmp cvm verify --out), offline.' },
    against: {
      type: 'string',
      value: 'FILE',
      summary: 'The policy before, with --evidence; none unless told.',
    },
    'trust-anchors': {
      type: 'string',
      value: 'FILE',
      summary: 'Roots to trust for the evidence, PEM or JSON; those of the vendors unless told.',
    },
    at: {
      type: 'string',
      value: 'TIME',
      summary: 'Time of evaluation of the evidence, RFC 3339, a date or seconds; now unless told.',
    },
  },
  notes:
    'Without --evidence the Key Server appraises its open sessions and holds its keys against the\n' +
    'policy, as a dry run: the policy is signed and checked as by cvmp policy set. With --evidence\n' +
    'no server is asked. Exit code 0 where nobody loses access, 1 where somebody does.',
  async run({ positionals: [name], options }, context) {
    const { evidence, against } = options;
    if (evidence.length === 0) {
      if (against !== undefined) {
        throw new CvmpError('USAGE', '--against is for --evidence', { field: 'against' });
      }
      return askServer(name!, options['reference-values'], context);
    }
    const before = against === undefined ? undefined : await readPolicy(against, [], context);
    const after = await readPolicy(name!, options['reference-values'], context);
    checkPlace(before, after);
    const at = options.at === undefined ? context.now() : typedTime(options.at, 'at');
    const rows: ImpactRow[] = [];
    for (const one of evidence) {
      const verified = await sound(one, options['trust-anchors'], at, context);
      rows.push(evidenceRow(one, verified, before, after));
    }
    const text = `${rows.length} pieces of evidence replayed`;
    return impactOutput(rows, { text, json: { evidence_tested: rows.length } });
  },
});

/** A policy that no server need know: YAML, or what somebody signed. */
async function readPolicy(
  name: string,
  referenceValues: readonly string[],
  context: CommandContext,
): Promise<KeyingPolicy> {
  const bytes = await readTypedBytes(context, name);
  if (isSigned(bytes)) return policyOf(readSigned(bytes));
  const written = parsePolicy(await readTypedText(context, name), name);
  await withReferenceValues(written.message, referenceValues, context);
  return checkWritten(written);
}

/** What the Key Server would refuse in any case; version and digest are the server's to fill in. */
function checkPlace(before: KeyingPolicy | undefined, after: KeyingPolicy): void {
  if (before === undefined) {
    checkFirst({ ...after, version: 1 });
    return;
  }
  const digest = crypto.hash('sha256', new Uint8Array());
  const next = { ...after, version: before.version + 1, prevDigest: digest };
  checkSuccessor(before, digest, next, knownFormats);
}

async function sound(
  name: string,
  anchors: string | undefined,
  at: number,
  context: CommandContext,
) {
  const named = async (one: string) => ({ name: one, bytes: await readTypedBytes(context, one) });
  const verdict = await verifyEvidenceFiles({
    files: [await named(name)],
    trustAnchors: anchors === undefined ? undefined : await named(anchors),
    at,
  });
  if (!verdict.accepted) {
    const { code, message } = verdict.failure;
    throw new CvmpError(code, `${name}: ${message}`, { field: 'evidence' });
  }
  if (verdict.verified === undefined) {
    const why = `${name} holds less than a policy asks for: ${verdict.notes.join('; ')}`;
    throw new CvmpError('USAGE', why, { field: 'evidence' });
  }
  return verdict.verified;
}

/** A dry run by the Key Server, which has open sessions and keys to try it on. */
async function askServer(
  name: string,
  referenceValues: readonly string[],
  context: CommandContext,
): Promise<Output> {
  const profile = await context.profile();
  const policies = (await context.servers()).policies();
  const bytes = await readTypedBytes(context, name);
  const made = isSigned(bytes)
    ? { policy: readSigned(bytes), signed: bytes }
    : await signWritten(name, referenceValues, context);
  const answer = await policies.setKeyPolicy({ signedPolicy: made.signed, dryRun: true });
  if (profile.keyServer === undefined) throw new CvmpError('CONFIG', 'no key_server');
  const { impact, warnings } = await openPolicyResponse(answer, made, profile.keyServer);
  if (impact === undefined) {
    throw new CvmpError('UNSUPPORTED_VERSION', 'the Key Server does not say what would change');
  }
  for (const warning of warnings) context.terminal.err(`warning: ${warning}\n`);
  const { agentsTested, keysTested, agentsLosing, agentsGaining, keysLosing, keysRaised } = impact;
  const counted =
    `${agentsTested} open sessions and ${keysTested} keys tested: ` +
    `${agentsLosing} sessions lose access, ${agentsGaining} gain it; ` +
    `${keysLosing} keys are lost, the floor of ${keysRaised} rises`;
  const text = impact.partial ? `${counted}; there are more than were tested` : counted;
  return impactOutput(serverRows(impact), {
    text,
    json: {
      agents_tested: agentsTested,
      agents_losing: agentsLosing,
      agents_gaining: agentsGaining,
      keys_tested: keysTested,
      keys_losing: keysLosing,
      keys_raised: keysRaised,
      partial: impact.partial,
    },
  });
}

async function signWritten(
  name: string,
  referenceValues: readonly string[],
  context: CommandContext,
): Promise<{ readonly policy: SetKeyPolicy; readonly signed: Uint8Array }> {
  const written = parsePolicy(await readTypedText(context, name), name);
  await withReferenceValues(written.message, referenceValues, context);
  checkWritten(written);
  const { key, issuer } = await callerKey(await context.profile(), 'tenant');
  const servers = await context.servers();
  const { version, policyId } = written.message;
  const own = { key, issuer };
  const current = version === 0n ? await fetchPolicy(servers, own, policyId) : undefined;
  const policy = completePolicy(written, issuer, current) ?? nextOf(current!);
  return { policy, signed: await signPolicy(key, policy) };
}

/** What is in force already, as a next version: nothing changes by it. */
function nextOf(current: { readonly policy: SetKeyPolicy; readonly digest: Uint8Array }) {
  const { policy, digest } = current;
  const version = policy.version + 1n;
  return create(SetKeyPolicySchema, { ...policy, version, prevDigest: digest });
}
