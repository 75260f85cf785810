import { writeFile } from 'node:fs/promises';
import { toHex } from '#core/bytes.js';
import { peekSigned } from '#core/cose/quorum.js';
import { CvmpError } from '#core/errors.js';
import { policyType } from '#wire/signed-policy.js';
import { command } from '../command.js';
import { checkWritten, completePolicy, parsePolicy } from '../policy/policy-file.js';
import {
  fetchPolicy,
  isSigned,
  readSigned,
  signPolicyAlso,
  startPolicy,
} from '../policy/signed-policy.js';
import { readKeyFile } from '../profile/key-file.js';
import { callerKey } from '../profile/speaker.js';
import { fields } from '../terminal/output.js';
import { readTypedBytes, readTypedText } from '../terminal/typed.js';

export const policySign = command({
  name: 'policy sign',
  summary: 'Signs a Keying Policy that several people must sign; cvmp policy set sets it then.',
  examples: [
    'cvmp policy sign web.yaml --out web.signed',
    'cvmp policy sign web.signed --key bob-key.pem',
    'cvmp policy set web.signed',
  ],
  positionals: ['FILE'],
  options: {
    key: { type: 'string', value: 'FILE', summary: "Private key; else the profile's tenant key." },
    out: {
      type: 'string',
      value: 'FILE',
      summary: 'Where to; FILE itself if it is signed already.',
    },
  },
  notes:
    'The first signer gives the YAML, each next one what the one before wrote; who gives a signed\n' +
    'policy needs no server and sees what is signed by cvmp policy check. Where the YAML leaves out\n' +
    'version and prev_digest they come from the Key Server, as with cvmp policy set.',
  async run({ positionals: [file], options }, context) {
    const key = async () =>
      options.key === undefined
        ? (await callerKey(await context.profile(), 'tenant')).key
        : readKeyFile(context.path(options.key));
    const bytes = await readTypedBytes(context, file!);
    const signed = isSigned(bytes)
      ? await signPolicyAlso(await key(), bytes)
      : await startPolicy(await key(), await written());
    const out = options.out ?? (isSigned(bytes) ? file! : undefined);
    if (out === undefined) throw new CvmpError('USAGE', '--out is missing', { field: 'out' });
    await writeFile(context.path(out), signed);
    const { policyId, version } = readSigned(signed);
    const signers = peekSigned(signed, policyType).signers.map((kid) => toHex(kid));
    return {
      json: { policy_id: policyId, version, file: out, signers },
      text: fields([
        ['policy', `${policyId} version ${version}`],
        ['file', out],
        ['signers', signers.join('\n')],
      ]),
    };

    async function written() {
      const policy = parsePolicy(await readTypedText(context, file!), file!);
      checkWritten(policy);
      const { tenantId, version, policyId } = policy.message;
      // Said in full, the file needs neither profile nor server.
      if (tenantId !== '' && version !== 0n) return policy.message;
      const own = await callerKey(await context.profile(), 'tenant');
      const servers = await context.servers();
      const current = version === 0n ? await fetchPolicy(servers, own, policyId) : undefined;
      const complete = completePolicy(policy, own.issuer, current);
      if (complete !== undefined) return complete;
      throw new CvmpError('ALREADY_EXISTS', `policy ${policyId} says so already`);
    }
  },
});
