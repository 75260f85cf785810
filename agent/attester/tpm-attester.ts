import { CvmpError, type ErrorCode } from '#core/errors.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { tpmCollection } from '#core/tpm/evidence.js';
import type { TpmConfig, TpmPlatform } from '../config-attester.js';
import type { Attester, AttesterOptions } from './attester.js';
import { azureIndices, openAzureAttester } from './azure.js';
import { measureConfigDocument } from './tpm/config-register.js';
import { googleAks, openGoogleAk } from './tpm/google.js';
import { activateCredential, openAk, openEk } from './tpm/keys.js';
import { type MeasuredTpm, quoteOver } from './tpm/quote.js';
import { Tpm } from './tpm/tpm.js';

const openers: Readonly<Record<TpmPlatform, (measured: MeasuredTpm) => Promise<Attester>>> = {
  generic: openGenericAttester,
  azure: openAzureAttester,
  google: openGoogleAttester,
};

/**
 * Evidence of a TPM by tpm2-tools; of an Azure CVM with the hardware's around it.
 * @throws CvmpError TPM_UNAVAILABLE
 */
export async function openTpmAttester(
  config: TpmConfig,
  stateDir: string,
  options: AttesterOptions,
): Promise<Attester> {
  return withMeasuredTpm(config, stateDir, options, (measured) =>
    openers[config.platform ?? platformOf(measured.nvIndices)](measured),
  );
}

/**
 * Opens a TPM, measures the config document, and gives the attester that `open` makes of it, one
 * request at a time: files and NV indices are shared.
 * @throws CvmpError TPM_UNAVAILABLE, and what `open` throws
 */
export async function withMeasuredTpm(
  config: TpmConfig,
  stateDir: string,
  options: AttesterOptions,
  open: (measured: MeasuredTpm) => Promise<Attester>,
): Promise<Attester> {
  const { randomBytes, configDocument } = options;
  const tpm = await Tpm.open({ tcti: config.tcti, stateDir, randomBytes });
  try {
    const nvIndices = await tpm.handles('nv-index');
    await measureConfigDocument(tpm, config.bank, configDocument);
    return oneAtATime(await open({ tpm, config, options, nvIndices }), tpm);
  } catch (error) {
    await tpm.close();
    throw ownFault(error);
  }
}

/** Codes that say what is wrong with this machine; others would pass for the Key Server's refusal. */
const ownCodes: readonly ErrorCode[] = [
  'AK_UNTRUSTED',
  'CANCELLED',
  'CONFIG_MISMATCH',
  'TPM_UNAVAILABLE',
  'TSM_BUSY',
  'TSM_UNAVAILABLE',
];

/** What this TPM gave and nobody can read is a fault of this TPM. */
function ownFault(error: unknown): unknown {
  if (!(error instanceof CvmpError) || ownCodes.includes(error.code)) return error;
  const { message, field } = error;
  return new CvmpError('TPM_UNAVAILABLE', message, { cause: error, ...(field && { field }) });
}

function platformOf(nvIndices: ReadonlySet<number>): TpmPlatform {
  if (nvIndices.has(azureIndices.report)) return 'azure';
  const isGoogle = googleAks.some(({ certificate, template }) =>
    [certificate, template].every((index) => nvIndices.has(index)),
  );
  return isGoogle ? 'google' : 'generic';
}

/** A TPM whose EK certificate vouches for it: the verifier has its AK activate a credential. */
async function openGenericAttester(measured: MeasuredTpm): Promise<Attester> {
  const { tpm, config, nvIndices } = measured;
  const ak = await openAk(tpm, config.akHandle);
  const ek = await openEk(tpm, nvIndices);
  const { certificates: ekCertificates } = ek;
  return {
    profiles: ['tpm'],
    async evidence(reportData) {
      const quoted = await quoteOver(measured, ak, reportData);
      const { publicArea: akPublic } = ak;
      return encodeCmw(tpmCollection({ ...quoted, akPublic, ekCertificates }));
    },
    activateCredential: (credentialBlob, encryptedSecret) =>
      activateCredential(tpm, ek, ak, { credentialBlob, encryptedSecret }),
    close: () => {},
  };
}

/** A vTPM of Google Cloud, which certified the AK. */
async function openGoogleAttester(measured: MeasuredTpm): Promise<Attester> {
  const { tpm, nvIndices } = measured;
  const { certificate, ...ak } = await openGoogleAk(tpm, nvIndices);
  return {
    profiles: ['tpm'],
    async evidence(reportData) {
      const quoted = await quoteOver(measured, ak, reportData);
      return encodeCmw(tpmCollection({ ...quoted, certificates: [certificate] }));
    },
    close: () => {},
  };
}

function oneAtATime(attester: Attester, tpm: Tpm): Attester {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work).catch((error: unknown) => {
      throw ownFault(error);
    });
    last = turn.catch(() => {});
    return turn;
  };
  const activate = attester.activateCredential;
  return {
    profiles: attester.profiles,
    evidence: (reportData) => inTurn(() => attester.evidence(reportData)),
    ...(activate && {
      activateCredential: (blob, secret) => inTurn(() => activate(blob, secret)),
    }),
    async close() {
      await attester.close();
      await tpm.close();
    },
  };
}
