import { fromUtf8 } from '#core/bytes.js';
import { parseEar } from '#core/ear/token.js';
import { CvmpError } from '#core/errors.js';
import { requireConfigDocument, requireReportData } from '#core/rats/verify.js';
import { command } from '../command.js';
import { type EarSubject, earOptions, earSigner } from '../ear/ear-file.js';
import { earTree } from '../ear/ear-text.js';
import { readRequest, type VerifierRequest } from '../ear/request.js';
import { appraiseByFile } from '../evidence/appraisal.js';
import { type EvidenceVerdict, verifyEvidenceFiles } from '../evidence/evidence.js';
import { readTypedBytes, readTypedInput, typedTime } from '../terminal/typed.js';

const { ear: _file, 'ear-cnf': _cnf, ...options } = earOptions;

export const earAppraise = command({
  name: 'ear appraise',
  summary: 'Answers an agent that has its evidence appraised here, with a signed EAR (JWT).',
  examples: [
    'cvmp ear appraise - --policy web.yaml --ear-key verifier.key < request.json',
    'cvmp ear appraise request.json collateral.pem --policy web.yaml --ear-key verifier.key',
  ],
  positionals: ['REQUEST', '[MORE]...'],
  options: {
    ...options,
    policy: { type: 'string', value: 'FILE', summary: 'Keying Policy to appraise by.' },
    'trust-anchors': {
      type: 'string',
      value: 'FILE',
      summary: 'Roots to trust, PEM or JSON; those of AMD, Intel and Google unless told.',
    },
    at: {
      type: 'string',
      value: 'TIME',
      summary: 'Time of evaluation, RFC 3339, a date or seconds since 1970; now unless told.',
    },
  },
  notes:
    'REQUEST is what an agent with ear.program writes (docs/operating.md); - is standard input. MORE is\n' +
    'what the evidence is verified by. What is refused is answered too: its EAR is contraindicated.',
  async run({ positionals: [file, ...more], options: typed }, context) {
    const sign = await earSigner(typed, typed.policy, context);
    const at = typed.at === undefined ? context.now() : typedTime(typed.at, 'at');
    const named = async (name: string) => ({ name, bytes: await readTypedBytes(context, name) });
    const request = readRequest(await readTypedInput(context, file!));
    const anchors = typed['trust-anchors'];
    const verdict = await verifyEvidenceFiles({
      files: [
        { name: 'evidence', bytes: request.evidence },
        ...(await Promise.all(more.map(named))),
      ],
      trustAnchors: anchors === undefined ? undefined : await named(anchors),
      at,
    });
    const policy = typed.policy!;
    const subject = await subjectOf(verdict, request, (verified) =>
      appraiseByFile(verified, policy, context),
    );
    const ear = await sign(subject, at, 'jwt', request.confirmationKey);
    const { claims } = parseEar(ear);
    return { json: { ear: fromUtf8(ear), claims: earTree(claims) }, text: fromUtf8(ear) };
  },
});

type Appraise = (
  verified: NonNullable<Extract<EvidenceVerdict, { accepted: true }>['verified']>,
) => ReturnType<typeof appraiseByFile>;

/** Genuine evidence of another session, or of another config document, fails as forged evidence does. */
async function subjectOf(
  verdict: EvidenceVerdict,
  { binding, configDocument }: VerifierRequest,
  appraise: Appraise,
): Promise<EarSubject> {
  const format = 'evidence';
  if (!verdict.accepted) return { code: verdict.failure.code, format };
  if (verdict.verified === undefined) return { code: 'UNSUPPORTED_EVIDENCE', format };
  const { claims } = verdict.verified;
  try {
    requireReportData(claims, binding);
    requireConfigDocument(claims.configBinding, configDocument);
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { code: error.code, format };
  }
  return { result: await appraise(verdict.verified) };
}
