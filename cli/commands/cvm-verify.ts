import { writeFile } from 'node:fs/promises';
import { ConnectError } from '@connectrpc/connect';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { AttestationResult } from '#core/rats/attestation-result.js';
import type { VerifiedEvidence } from '#core/rats/verify.js';
import { crypto } from '#crypto';
import type { CvmEvidence } from '#gen/cvmp/v1/evidence_pb.js';
import { errorReport } from '../api.js';
import { type CommandContext, command } from '../command.js';
import { activationBy, requireClaimedLaunch, verifyCvmEvidence } from '../cvm/cvm-evidence.js';
import { appraisalJson, appraisalText, appraiseByFile } from '../evidence/appraisal.js';
import type { ErrorReport, Output } from '../terminal/output.js';
import { readTypedBytes } from '../terminal/typed.js';

/** Codes that say that nothing is known, rather than that something is wrong. */
const inconclusive: readonly string[] = [
  'UNSUPPORTED_EVIDENCE',
  'UNSUPPORTED_VERSION',
  'COLLATERAL_STALE',
];

/** "is not", or "cannot tell": what the platform did not answer is no proof against the CVM. */
function negative(name: string, error: unknown): Output {
  const fromPlatform = error instanceof ConnectError;
  if (!fromPlatform && !(error instanceof CvmpError)) throw error;
  const reason: ErrorReport = errorReport(error);
  if (reason.code === 'USAGE' || reason.code === 'CONFIG') throw error;
  const unknown = fromPlatform || inconclusive.includes(reason.code);
  const verdict = unknown ? 'cannot-tell' : 'not-a-cvm';
  const says = unknown ? 'cannot tell, because' : `${name} is not your CVM:`;
  const { code, message, hint } = reason;
  return {
    json: { verdict, cvm: name, reason: { code, message, hint: hint ?? '' } },
    text: `${says} ${code} ${message}`,
    exitCode: 1,
  };
}

function positive(
  name: string,
  { claims, evidenceDigest }: VerifiedEvidence,
  launch: string | undefined,
  result: AttestationResult | undefined,
): Output {
  const hardware = `${claims.format}${claims.simulated ? ', simulated' : ''}`;
  const measurement = toHex(claims.launchMeasurement);
  const recomputed = launch === undefined ? 'not recomputed: give --firmware' : launch;
  return {
    json: {
      verdict: result?.accepted === false ? 'not-a-cvm' : 'cvm',
      cvm: name,
      simulated: claims.simulated,
      measurement,
      launch_recomputed: launch !== undefined,
      evidence_digest: toHex(evidenceDigest),
      ...(result === undefined ? {} : { appraisal: appraisalJson(result) }),
    },
    text: [
      `${name} is a CVM of yours (${hardware}): genuine, answered just now, bound to your config`,
      `measurement ${measurement} (${recomputed})`,
      ...(result === undefined ? [] : [appraisalText(result)]),
    ].join('\n'),
    exitCode: result?.accepted === false ? 1 : 0,
  };
}

/** Keeps the evidence where `cvmp evidence show` and `verify` can read it. */
async function keep(file: string | undefined, evidence: CvmEvidence, context: CommandContext) {
  if (file !== undefined) await writeFile(context.path(file), evidence.cmwCollection);
}

export const cvmVerify = command({
  name: 'cvm verify',
  summary: 'Asks a running CVM to prove what it is, and verifies the answer here (CVMVerify).',
  examples: ['cvmp cvm verify web', 'cvmp cvm verify web --policy web.yaml --json'],
  positionals: ['NAME'],
  options: {
    policy: { type: 'string', value: 'FILE', summary: 'Also appraise by this Keying Policy.' },
    firmware: {
      type: 'string',
      value: 'FILE',
      summary: 'Your own copy of its firmware, in place of asking the platform for it.',
    },
    out: { type: 'string', value: 'FILE', summary: 'Keep the evidence in this file.' },
  },
  notes:
    'The platform only relays: it can keep silent, it cannot answer for the CVM. Exit code 0 it is\n' +
    'your CVM, 1 it is not, or nobody can tell (the text and "verdict" in JSON say which).',
  async run({ positionals, options }, context) {
    const name = positionals[0]!;
    const profile = await context.profile();
    const cvms = (await context.servers()).cvms();
    const firmware =
      options.firmware === undefined ? undefined : await readTypedBytes(context, options.firmware);
    const nonce = crypto.randomBytes(32);
    try {
      const { cvm } = await cvms.cVMGet({ cvm: name });
      const { evidence } = await cvms.cVMVerify({ cvm: name, nonce });
      if (cvm === undefined || evidence === undefined) {
        throw new CvmpError('UNSUPPORTED_EVIDENCE', 'the platform answered nothing');
      }
      await keep(options.out, evidence, context);
      const cvmName = name === cvm.cvmId ? cvm.name : name;
      const activate = activationBy(cvms, name, nonce);
      const expected = { profile, cvmName, at: context.now(), activate };
      const verified = await verifyCvmEvidence(evidence, nonce, expected);
      const launch = await requireClaimedLaunch(verified, cvm, cvms, firmware);
      const result =
        options.policy === undefined
          ? undefined
          : await appraiseByFile(verified, options.policy, context);
      return positive(name, verified, launch, result);
    } catch (error) {
      return negative(name, error);
    }
  },
});
