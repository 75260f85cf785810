import { CvmpError } from '#core/errors.js';
import { type CommandContext, command } from '../command.js';
import { earOptions, earWriter } from '../ear/ear-file.js';
import { appraisalJson, appraisalText, appraiseByFile, checkJson } from '../evidence/appraisal.js';
import { verifyEvidenceFiles } from '../evidence/evidence.js';
import type { NamedFile } from '../evidence/pieces.js';
import { treeText } from '../evidence/tree.js';
import { readTypedInput, typedTime } from '../terminal/typed.js';

async function named(context: CommandContext, name: string): Promise<NamedFile> {
  return { name, bytes: await readTypedInput(context, name) };
}

const file = { type: 'string', value: 'FILE', multiple: true } as const;

export const evidenceVerify = command({
  name: 'evidence verify',
  summary: 'Verifies evidence of any kind: chain, signatures, certificates against evidence.',
  examples: [
    'cvmp evidence verify report.bin --cert vcek.der --cert ask_ark.pem',
    'cvmp evidence verify report.bin --cert vcek.der ask.der ark.der --at 2026-01-31 --json',
    'cvmp evidence verify quote.bin --collateral tcb_info.json qe_identity.json --crl pck.crl',
    'cvmp evidence verify web.evidence --policy web.yaml',
    'cvmp evidence verify web.evidence --policy web.yaml --ear web.ear --ear-key verifier.key',
  ],
  positionals: ['FILE', '[MORE]...'],
  options: {
    cert: { ...file, summary: 'Certificates (DER or PEM) in any order, up to the root.' },
    crl: { ...file, summary: 'Revocation lists (DER or PEM); enforced where given.' },
    collateral: {
      ...file,
      summary: "Intel's TCB Info and QE Identity (JSON), or the key of a CCA platform (JSON).",
    },
    'event-log': { ...file, summary: 'Event log of the boot: TCG, CCEL, or JSON.' },
    key: { ...file, summary: 'Public key of a TPM quote or of a CCA platform (PEM, TPMT_PUBLIC).' },
    at: {
      type: 'string',
      value: 'TIME',
      summary: 'Time of evaluation, RFC 3339, a date or seconds since 1970; now unless told.',
    },
    'trust-anchors': {
      type: 'string',
      value: 'FILE',
      summary: 'Roots to trust, PEM or JSON; those of AMD, Intel and Google unless told.',
    },
    policy: { type: 'string', value: 'FILE', summary: 'Also appraise by this Keying Policy.' },
    ...earOptions,
  },
  notes:
    'The evidence is told by its content: an SEV-SNP report, a TD Quote, a TPM quote with its\n' +
    'signature, key and PCR values, an HCL report of Azure with what belongs to it, an Arm CCA token,\n' +
    'or what cvmp cvm verify --out kept (CMW), which brings its certificates. Files may come in any\n' +
    'order, with or without their options; one may be -, standard input. Sound evidence may be old,\n' +
    'or of a CVM that is not yours: cvmp cvm verify asks a running one. Exit code 0 accepted, 1 refused, 2 wrong usage.',
  async run({ positionals, options }, context) {
    const at = options.at === undefined ? context.now() : typedTime(options.at, 'at');
    const anchors = options['trust-anchors'];
    const { cert, crl, collateral, key } = options;
    const writeEar = await earWriter(options, options.policy, context);
    const names = [...positionals, ...cert, ...crl, ...collateral, ...options['event-log'], ...key];
    const verdict = await verifyEvidenceFiles({
      files: await Promise.all(names.map((name) => named(context, name))),
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
    const { kind, claims, notes, verified } = verdict;
    const lines = notes.map((note) => `note: ${note}`);
    const sound = [`accepted: genuine at ${time}`, treeText(claims, '  '), ...lines].join('\n');
    if (options.policy === undefined) {
      return { json: { accepted: true, kind, at: time, claims, notes }, text: sound };
    }
    if (verified === undefined) {
      const why = `a policy asks for more than there is: ${notes.join('; ')}`;
      throw new CvmpError('USAGE', why, { field: 'policy' });
    }
    const result = await appraiseByFile(verified, options.policy, context);
    await writeEar?.({ result }, at);
    return {
      json: {
        accepted: result.accepted,
        kind,
        at: time,
        ...(result.accepted ? {} : { code: result.failures[0]?.code ?? 'POLICY_REFUSED' }),
        claims,
        notes,
        appraisal: appraisalJson(result),
      },
      text: `${result.accepted ? sound : sound.replace('accepted: ', '')}\n${appraisalText(result)}`,
      exitCode: result.accepted ? 0 : 1,
    };
  },
});
