import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { parseEar, verifyEar } from '#core/ear/token.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { earTree } from '../ear/ear-text.js';
import { checkJson } from '../evidence/appraisal.js';
import { treeText } from '../evidence/tree.js';
import { readSigners } from '../profile/signers.js';
import { readTypedInput, typedTime, wholeNumber } from '../terminal/typed.js';

const ageMax = 31_536_000;

export const earVerify = command({
  name: 'ear verify',
  summary: 'Verifies an Attestation Result (EAR, JWT or CWT): who signed it, and how old it is.',
  examples: [
    'cvmp ear verify web.ear --key verifier.pem',
    'cvmp ear verify web.ear --key verifier.pem --age-seconds-max 300 --json',
  ],
  positionals: ['FILE'],
  options: {
    key: {
      type: 'string',
      value: 'FILE',
      multiple: true,
      summary: 'Public key of a verifier that you trust (PEM), on P-256 or P-384.',
    },
    'age-seconds-max': {
      type: 'string',
      value: 'N',
      summary: 'Oldest result to accept; only its own expiry counts unless told.',
    },
    at: {
      type: 'string',
      value: 'TIME',
      summary: 'Time of evaluation, RFC 3339, a date or seconds since 1970; now unless told.',
    },
  },
  notes:
    'A sound result may be a bad one: read its status. Whether it is of your CVM and of now is said\n' +
    'by eat_nonce and by what the verifier appraised. Exit code 0 sound, 1 refused, 2 wrong usage.',
  async run({ positionals: [file], options }, context) {
    const at = options.at === undefined ? context.now() : typedTime(options.at, 'at');
    const range = { min: 1, max: ageMax, otherwise: 0 };
    const age = wholeNumber(options['age-seconds-max'], 'age-seconds-max', range);
    const { keys } = await readSigners(options.key, at, context);
    if (keys.length === 0) {
      const given = options.key.join(', ');
      const why = given === '' ? 'whom do you trust?' : `${given} has no PUBLIC KEY of a verifier;`;
      throw new CvmpError('USAGE', `${why} give --key FILE`);
    }
    const bytes = await readTypedInput(context, file!);
    try {
      const ear = parseEar(bytes);
      const key = await verifyEar(ear, keys, { at, ageSecondsMax: age === 0 ? undefined : age });
      const claims = earTree(ear.claims);
      const signer = toHex(thumbprint(key));
      return {
        json: { accepted: true, form: ear.form, signer, claims },
        text: `accepted: signed by key ${signer}\n${treeText(claims, '  ')}`,
      };
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
      const { code, message, field = 'ear', next } = error;
      return {
        json: { accepted: false, ...checkJson({ code, check: field, message }), hint: next },
        text: `refused: ${code} ${field}: ${message}\nhint: ${next}`,
        exitCode: 1,
      };
    }
  },
});
