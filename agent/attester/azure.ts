import { azureCollection } from '#core/azure/evidence.js';
import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import { type CertTableKind, encodeCertTable } from '#core/snp/endorsement/cert-table.js';
import { snpCollection } from '#core/snp/evidence.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { type HclReport, parseHclReport } from '#core/tpm/ak/hcl.js';
import { tpmCollection } from '#core/tpm/evidence.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import type { Attester } from './attester.js';
import { Imds } from './imds.js';
import { type MeasuredTpm, quoteOver } from './tpm/quote.js';
import { handleText, type Tpm, type TpmObject } from './tpm/tpm.js';

/** NV indices of the paravisor: its report, and what the guest wants reported. */
export const azureIndices = { report: 0x01400001, userData: 0x01400002 } as const;
/** Persistent handle of the AK that the report names. */
const akHandle = 0x81000003;

const userDataLength = 64;
/** TDREPORT_STRUCT (Intel TDX Module ABI); zeros follow it in an HCL report. */
const tdReportLength = 1024;
/** The paravisor asks the processor anew after a write; that takes it up to some seconds. */
const refresh = { attemptsMax: 40, intervalMs: 250 };

/**
 * An Azure CVM: the paravisor's report of its vTPM, the hardware's report of the paravisor, and the
 * quote of the vTPM, all made for one session.
 * @throws CvmpError TPM_UNAVAILABLE, also where the AK is not the one of the report
 */
export async function openAzureAttester(measured: MeasuredTpm): Promise<Attester> {
  const { tpm, config, nvIndices, options } = measured;
  const imds = new Imds(config.imdsUrl);
  if (!nvIndices.has(azureIndices.userData)) {
    await tpm.nvDefine(azureIndices.userData, userDataLength);
  }
  const { hcl } = await readHcl(tpm);
  const ak = { object: await requireAk(tpm, hcl) };
  return {
    profiles: [`azure-${hcl.hardware}`],
    async evidence(reportData) {
      const { bytes, hcl } = await freshHcl(tpm, reportData, options.sleep);
      const quote = tpmCollection(await quoteOver(measured, ak, reportData));
      return encodeCmw(azureCollection(await hardwareOf(hcl, imds), bytes, quote));
    },
    close: () => {},
  };
}

async function readHcl(tpm: Tpm): Promise<{ bytes: Uint8Array; hcl: HclReport }> {
  const bytes = await tpm.nvRead(azureIndices.report);
  try {
    return { bytes, hcl: parseHclReport(bytes) };
  } catch (cause) {
    const message = `${handleText(azureIndices.report)} holds no HCL report`;
    throw new CvmpError('TPM_UNAVAILABLE', message, { cause, field: 'tpm.platform' });
  }
}

/** Fails here rather than at the verifier: a quote by another key proves nothing. */
async function requireAk(tpm: Tpm, { akSpki }: HclReport): Promise<TpmObject> {
  const object = handleText(akHandle);
  const { spki } = parsePublicArea(await tpm.readPublic(object));
  if (equalBytes(spki, akSpki)) return object;
  throw new CvmpError('TPM_UNAVAILABLE', `the key at ${object} is not the AK of the HCL report`, {
    field: 'tpm.platform',
  });
}

/** Has the paravisor report this data, and waits until it did. */
async function freshHcl(
  tpm: Tpm,
  userData: Uint8Array,
  sleep: (ms: number) => Promise<void>,
): Promise<{ bytes: Uint8Array; hcl: HclReport }> {
  await tpm.nvWrite(azureIndices.userData, userData);
  for (let attempt = 1; ; attempt++) {
    const read = await readHcl(tpm);
    if (equalBytes(read.hcl.userData, userData)) return read;
    if (attempt === refresh.attemptsMax) break;
    await sleep(refresh.intervalMs);
  }
  const message = 'the paravisor did not report what was written';
  throw new CvmpError('TPM_UNAVAILABLE', message, { field: 'tpm.platform' });
}

async function hardwareOf(hcl: HclReport, imds: Imds): Promise<CmwCollection> {
  const { hardware, hardwareReport } = hcl;
  if (hardware === 'tdx') {
    return tdxCollection(await imds.tdQuote(hardwareReport.subarray(0, tdReportLength)));
  }
  return snpCollection(hardwareReport, await certTable(imds));
}

const chainKinds: readonly CertTableKind[] = ['VCEK', 'ASK', 'ARK'];

/** The verifier can fetch the chain itself: without the service there is an empty table. */
async function certTable(imds: Imds): Promise<Uint8Array> {
  const chain = await imds.vcekChain().catch(() => []);
  const entries = chain.slice(0, chainKinds.length);
  if (entries.length === 0) return new Uint8Array();
  return encodeCertTable(entries.map((data, i) => ({ kind: chainKinds[i]!, data })));
}
