import { encodeCmw } from '#core/rats/cmw.js';
import { svsmCollection } from '#core/svsm/evidence.js';
import { tpmCollection } from '#core/tpm/evidence.js';
import { crypto } from '#crypto';
import type { Attester, AttesterOptions } from './attester.js';
import { hardwareKinds } from './hardware.js';
import { activateCredential, openAk, openEk } from './tpm/keys.js';
import { type MeasuredTpm, quoteOver } from './tpm/quote.js';
import { readTsmProvider, type TsmFileOps } from './tsm.js';
import {
  obtainReport,
  requireOwn,
  requireProvider,
  type TsmAttesterConfig,
} from './tsm-attester.js';

const provider = 'sev_guest';

/**
 * Evidence by the SVSM of an SNP guest: its report over the manifest of its services and, where its
 * vTPM is one of them, a quote of that.
 * @throws CvmpError TSM_UNAVAILABLE, TSM_BUSY, TPM_UNAVAILABLE
 */
export async function openSvsmAttester(
  tsm: TsmFileOps,
  config: TsmAttesterConfig,
  options: AttesterOptions,
  measured: MeasuredTpm | undefined,
): Promise<Attester> {
  requireProvider(await readTsmProvider(tsm, options.randomBytes), config.provider ?? provider);
  const snp = hardwareKinds[provider];
  const service = config.service?.guid;
  const vtpm = measured === undefined ? undefined : await openVtpm(measured);
  return {
    profiles: ['svsm'],
    async evidence(nonce) {
      const report = await obtainReport(tsm, config, options, nonce);
      const { manifestblob: manifest } = report;
      // SVSM specification s.7.1: what the SVSM has reported, in the place of the nonce.
      requireOwn(snp, report, crypto.hash('sha512', nonce, manifest), options);
      const svsm = { nonce, manifest, ...(service === undefined ? {} : { service }) };
      const quote = await vtpm?.quote(nonce);
      return encodeCmw(svsmCollection(snp.collect(report, undefined), svsm, quote));
    },
    ...(vtpm && { activateCredential: vtpm.activate }),
    close: () => tsm.close(),
  };
}

/** The manifest names the vTPM's EK; whoever trusts that has the AK activate a credential. */
async function openVtpm(measured: MeasuredTpm) {
  const { tpm, config, nvIndices } = measured;
  const ak = await openAk(tpm, config.akHandle);
  const ek = await openEk(tpm, nvIndices);
  return {
    quote: async (nonce: Uint8Array) =>
      tpmCollection({ ...(await quoteOver(measured, ak, nonce)), akPublic: ak.publicArea }),
    activate: (credentialBlob: Uint8Array, encryptedSecret: Uint8Array) =>
      activateCredential(tpm, ek, ak, { credentialBlob, encryptedSecret }),
  };
}
