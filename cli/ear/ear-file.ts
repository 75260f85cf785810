import { writeFile } from 'node:fs/promises';
import { toHex, utf8 } from '#core/bytes.js';
import type { EcPublicKey } from '#core/cose/key.js';
import type { Ear } from '#core/ear/ear.js';
import { type EarFrame, earOfFailure, earOfResult } from '#core/ear/from-result.js';
import { confirmationReportData } from '#core/ear/passport.js';
import { type EarForm, signCwt, signJwt } from '#core/ear/token.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import type { AttestationResult } from '#core/rats/attestation-result.js';
import { requireReportData } from '#core/rats/verify.js';
import { crypto } from '#crypto';
import type { CommandContext, Option } from '../command.js';
import { readKeyFile } from '../profile/key-file.js';
import { readSigners } from '../profile/signers.js';
import { readTypedText, wholeNumber } from '../terminal/typed.js';

/** Options of a command that states its appraisal as an EAR. */
export const earOptions = {
  ear: {
    type: 'string',
    value: 'FILE',
    summary: 'Also write the result as a signed EAR: a CWT where FILE ends in .cwt, else a JWT.',
  },
  'ear-key': {
    type: 'string',
    value: 'FILE',
    summary: 'Private key of the verifier (PKCS#8 PEM, mode 0600), on P-256 or P-384.',
  },
  'ear-seconds': {
    type: 'string',
    value: 'N',
    summary: 'How long the EAR holds; 300 unless told, 0 for no end.',
  },
  'ear-cnf': {
    type: 'string',
    value: 'FILE',
    summary: 'Public key (PEM) to name as confirmation key; the evidence must be over it.',
  },
  'ear-profile': {
    type: 'string',
    value: 'NAME',
    summary: 'veraison (as deployed verifiers write it, unless told) or ietf (the draft of 2026).',
  },
} as const satisfies { readonly [name: string]: Option };

type Typed = { readonly [K in keyof typeof earOptions]: string | undefined };

const profiles = { veraison: 0, ietf: 1 } as const;
const secondsDefault = 300;
const secondsMax = 31_536_000;

/** What became of the evidence: appraised, or refused before that. */
export type EarSubject =
  | { readonly result: AttestationResult }
  | { readonly code: ErrorCode; readonly format: string };

/** Writes EARs as an option asks. */
export type EarWriter = (subject: EarSubject, at: number) => Promise<void>;

/**
 * @param policyFile whose digest names the appraisal policy
 * @returns undefined where no EAR is asked for
 * @throws CvmpError USAGE, CONFIG
 */
export async function earWriter(
  options: Typed,
  policyFile: string | undefined,
  context: CommandContext,
): Promise<EarWriter | undefined> {
  const { ear: out, 'ear-cnf': cnfFile } = options;
  if (out === undefined) return undefined;
  const sign = await earSigner(options, policyFile, context);
  const cnf = cnfFile === undefined ? undefined : await confirmationKey(cnfFile, context);
  const form = out.endsWith('.cwt') ? 'cwt' : 'jwt';
  return async (subject, at) => {
    await writeFile(context.path(out), await sign(subject, at, form, cnf));
  };
}

/** Signs what became of evidence as an EAR. @throws CvmpError BINDING_MISMATCH */
export type EarSigner = (
  subject: EarSubject,
  at: number,
  form: EarForm,
  cnf: EcPublicKey | undefined,
) => Promise<Uint8Array>;

/** @throws CvmpError USAGE, CONFIG */
export async function earSigner(
  options: Omit<Typed, 'ear' | 'ear-cnf'>,
  policyFile: string | undefined,
  context: CommandContext,
): Promise<EarSigner> {
  const { 'ear-key': keyFile, 'ear-profile': named = 'veraison' } = options;
  if (keyFile === undefined || policyFile === undefined) {
    throw new CvmpError('USAGE', 'an EAR needs --ear-key and --policy');
  }
  if (named !== 'veraison' && named !== 'ietf') {
    throw new CvmpError('USAGE', '--ear-profile is veraison or ietf', { field: 'ear-profile' });
  }
  const key = await readKeyFile(context.path(keyFile));
  const frame = {
    verifier: { developer: 'cvmp', build: 'cvmp-cli' },
    policyId: policyName(await readTypedText(context, policyFile)),
    lifetimeSeconds: wholeNumber(options['ear-seconds'], 'ear-seconds', {
      min: 0,
      max: secondsMax,
      otherwise: secondsDefault,
    }),
    profile: profiles[named],
  };
  return async (subject, at, form, cnf) => {
    if (cnf !== undefined && 'result' in subject) {
      // Naming a key says that the CVM holds it.
      requireReportData(subject.result.claims, confirmationReportData(cnf));
    }
    const confirmation = cnf === undefined ? {} : { confirmationKey: cnf };
    const ear = earOf(subject, { ...frame, ...confirmation, at });
    return form === 'cwt' ? signCwt(key, ear) : signJwt(key, ear);
  };
}

async function confirmationKey(file: string, context: CommandContext): Promise<EcPublicKey> {
  const { keys } = await readSigners([file], context.now(), context);
  const [key, ...more] = keys;
  if (key !== undefined && more.length === 0) return key;
  throw new CvmpError('USAGE', `${file} is not one public key`, { field: 'ear-cnf' });
}

function earOf(subject: EarSubject, frame: EarFrame): Ear {
  if ('result' in subject) return earOfResult(subject.result, frame);
  return earOfFailure(subject.code, subject.format, frame);
}

/** Two texts of a policy are two policies. */
function policyName(text: string): string {
  return `policy@sha256:${toHex(crypto.hash('sha256', utf8(text)))}`;
}
