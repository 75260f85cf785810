import { type CommandContext, command } from '../command.js';
import { earOptions, earWriter } from '../ear/ear-file.js';
import { appraisalJson, appraisalText, appraiseByFile, checkJson } from '../evidence/appraisal.js';
import { claimsTree, type NamedFile, verifyEvidenceFiles } from '../evidence/evidence.js';
import { treeText } from '../evidence/evidence-text.js';
import { readTypedBytes, typedTime } from '../terminal/typed.js';

async function named(context: CommandContext, name: string): Promise<NamedFile> {
  return { name, bytes: await readTypedBytes(context, name) };
}

export const evidenceVerify = command({
  name: 'evidence verify',
  summary: 'Verifies an attestation report: chain, signature, certificate against report.',
  examples: [
    'cvmp evidence verify report.bin --cert vcek.der --cert ask_ark.pem',
    'cvmp evidence verify report.bin --cert vcek.der ask.der ark.der --at 2026-01-31 --json',
    'cvmp evidence verify web.evidence --policy web.yaml',
    'cvmp evidence verify web.evidence --policy web.yaml --ear web.ear --ear-key verifier.key',
  ],
  positionals: ['FILE', '[CERT]...'],
  options: {
    cert: {
      type: 'string',
      value: 'FILE',
      multiple: true,
      summary: 'Certificates (DER or PEM) in any order: VCEK or VLEK, its issuer, the root.',
    },
    crl: {
      type: 'string',
      value: 'FILE',
      multiple: true,
      summary: 'Revocation lists (DER or PEM); enforced where given.',
    },
    at: {
      type: 'string',
      value: 'TIME',
      summary: 'Time of evaluation, RFC 3339, a date or seconds since 1970; now unless told.',
    },
    'trust-anchors': {
      type: 'string',
      value: 'FILE',
      summary: 'Roots to trust, PEM or JSON; the AMD roots known here unless told.',
    },
    policy: { type: 'string', value: 'FILE', summary: 'Also appraise by this Keying Policy.' },
    ...earOptions,
  },
  notes:
    'FILE is an SEV-SNP attestation report, or what cvmp cvm verify --out kept; the latter brings\n' +
    'its certificates. Sound evidence may be old, or of a CVM that is not yours: cvmp cvm verify\n' +
    'asks a running one. Exit code 0 accepted, 1 refused, 2 wrong usage.',
  async run({ positionals: [file, ...more], options }, context) {
    const at = options.at === undefined ? context.now() : typedTime(options.at, 'at');
    const anchors = options['trust-anchors'];
    const writeEar = await earWriter(options, options.policy, context);
    const verdict = await verifyEvidenceFiles({
      evidence: await named(context, file!),
      certificates: await Promise.all(
        [...options.cert, ...more].map((name) => named(context, name)),
      ),
      crls: await Promise.all(options.crl.map((name) => named(context, name))),
      trustAnchors: anchors === undefined ? undefined : await named(context, anchors),
      at,
    });
    const time = new Date(at).toISOString();
    if (!verdict.accepted) {
      const { failure } = verdict;
      await writeEar?.({ code: failure.code, format: 'evidence' }, at);
      return {
        json: { accepted: false, at: time, ...checkJson(failure), hint: failure.next },
        text: `refused: ${failure.code} ${failure.check}: ${failure.message}\nhint: ${failure.next}`,
        exitCode: 1,
      };
    }
    const claims = claimsTree(verdict.claims);
    const sound = `accepted: genuine at ${time}\n${treeText(claims, '  ')}`;
    if (options.policy === undefined) {
      return { json: { accepted: true, at: time, claims }, text: sound };
    }
    const result = await appraiseByFile(verdict.verified, options.policy, context);
    await writeEar?.({ result }, at);
    return {
      json: {
        accepted: result.accepted,
        at: time,
        ...(result.accepted ? {} : { code: result.failures[0]?.code ?? 'POLICY_REFUSED' }),
        claims,
        appraisal: appraisalJson(result),
      },
      text: `${result.accepted ? sound : sound.replace('accepted: ', '')}\n${appraisalText(result)}`,
      exitCode: result.accepted ? 0 : 1,
    };
  },
});
