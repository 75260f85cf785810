import { stringify } from 'yaml';
import { referencesOf } from '#core/corim/references/import.js';
import { requireCurrent, type TrustedSigners, verifySignedCorim } from '#core/corim/verify.js';
import { CvmpError } from '#core/errors.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { command } from '../command.js';
import { type ReadCorim, readCorimFile } from '../evidence/corim-text.js';
import { policyOfReferences } from '../policy/imported.js';
import { readSigners } from '../profile/signers.js';
import { toReadable } from '../terminal/readable.js';
import { readTypedBytes, typedTime } from '../terminal/typed.js';

/** Who stands for the manifest; nobody where the caller says that this is meant. */
async function checkedSigner(
  read: ReadCorim,
  trust: TrustedSigners,
  unsigned: boolean,
): Promise<string | undefined> {
  if (read.kind === 'signed' && !unsigned)
    return (await verifySignedCorim(read.signed, trust)).name;
  if (!unsigned) {
    throw new CvmpError(
      'SIGNATURE_INVALID',
      'the manifest is not signed: give --unsigned to take it',
    );
  }
  if (read.kind !== 'comid') requireCurrent(read.corim, trust.at);
  return undefined;
}

export const policyImport = command({
  name: 'policy import',
  summary: 'Reference values of a CoRIM as the rules of a Keying Policy (YAML).',
  examples: [
    'cvmp policy import vendor.corim --signer vendor.pem --name web --cvm "web-*" > web.yaml',
    'cvmp policy import built.comid --unsigned --json',
  ],
  positionals: ['FILE'],
  options: {
    signer: {
      type: 'string',
      value: 'FILE',
      multiple: true,
      summary: 'Who may have signed: public keys or certificates (PEM or DER), also of a CA.',
    },
    unsigned: {
      type: 'boolean',
      summary: 'Take a manifest that nobody signed, or whose signer you do not check.',
    },
    at: {
      type: 'string',
      value: 'TIME',
      summary: 'Time of evaluation, RFC 3339, a date or seconds since 1970; now unless told.',
    },
    name: { type: 'string', value: 'POLICY', summary: 'Name of the policy: makes it a whole one.' },
    cvm: {
      type: 'string',
      value: 'NAME',
      multiple: true,
      summary: 'Names of CVMs that the policy covers.',
    },
  },
  notes:
    'What the manifest states and a policy has no rule for is listed on stderr; nothing is widened.\n' +
    'Read the result before you sign it: cvmp policy check FILE, cvmp policy set FILE.',
  async run({ positionals: [file], options }, context) {
    if (!options.unsigned && options.signer.length === 0) {
      throw new CvmpError('USAGE', 'who may have signed? give --signer FILE, or --unsigned');
    }
    const at = options.at === undefined ? context.now() : typedTime(options.at, 'at');
    const read = readCorimFile(await readTypedBytes(context, file!));
    const trust = await readSigners(options.signer, at, context);
    const signer = await checkedSigner(read, trust, options.unsigned);
    const references = referencesOf(read.kind === 'comid' ? read.comid : read.corim);
    for (const note of references.notes) context.terminal.err(`not taken: ${note}\n`);
    const policy = policyOfReferences(references, {
      policyId: options.name ?? '',
      cvmNames: options.cvm,
    });
    const readable = toReadable(SetKeyPolicySchema, policy, false);
    const formats = Object.keys((readable as { appraisal?: object }).appraisal ?? {});
    if (formats.length === 0) {
      throw new CvmpError('POLICY_INVALID', 'the manifest has no reference values for any format');
    }
    return {
      json: { signer: signer ?? null, policy: readable, notes: [...references.notes] },
      text:
        `# Reference values of ${read.kind === 'comid' ? read.comid.tagId.id : read.corim.id}, ` +
        `${signer === undefined ? 'signer not checked' : `signed by ${signer}`}\n` +
        stringify(readable, { lineWidth: 0 }).trimEnd(),
    };
  },
});
