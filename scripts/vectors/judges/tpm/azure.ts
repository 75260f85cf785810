import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ByteReader, toHex } from '#core/bytes.js';
import { parseReport } from '#core/snp/parse.js';
import { productNames } from '#core/snp/product.js';
import { verifyReport } from '#core/snp/verify.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { type HclReport, parseHclReport, verifyRuntimeData } from '#core/tpm/ak/hcl.js';
import { parseQuote } from '#core/tpm/attest.js';
import { readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import {
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { endorsementKeyJson, reportFieldsJson } from '../snp/fields.js';
import { firstIn, realRoots, timeInside } from '../snp/verify.js';
import { quoteWithChainJson } from '../tdx/quotes.js';
import { verifyWithoutCollateral } from '../tdx/verify.js';
import { quoteFieldsJson } from './fields.js';
import {
  against,
  outcomeOf,
  parseQuoteFiles,
  type QuoteFiles,
  type Read,
  readPublicKey,
  verifyQuote,
  withNegatives,
} from './material.js';

const hclFile = 'hcl_report.bin';
const snpFile = 'snp_report.bin';
const tdFile = 'td_quote.bin';
const vcekFile = 'vcek.der';
const files: QuoteFiles = {
  message: 'quote_message.bin',
  signature: 'quote_signature.bin',
  pcrs: 'pcrs.json',
  isRawSignature: true,
};

/** Kind `azure-hcl-report+tpm-quote`: hardware report, HCL report, quote of the vTPM. */
export async function judgeAzure(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const cases = judgeFields(folder);
  for (const { name, wanted, read } of withNegatives(folder, 'composite')) {
    const outcome = await outcomeOf(async () => {
      const hcl = parseHclReport(read(hclFile));
      parseQuoteFiles(read, files);
      const reportData = await verifyHardware(folder, hcl, read);
      verifyRuntimeData(hcl, reportData);
      await verifyQuote(read, files, hcl.akSpki);
    });
    cases.push(against(name, wanted, outcome));
  }
  return cases;
}

/** Report data of the verified hardware report. */
async function verifyHardware(folder: CaseFolder, hcl: HclReport, read: Read): Promise<Uint8Array> {
  if (hcl.hardware === 'tdx') {
    const quote = read(tdFile);
    await verifyWithoutCollateral(quote, intelRoots, 0);
    return parseTdxQuote(quote).td.reportData;
  }
  const product = asString(asObject(folder.expected.snp_report, 'snp_report').product, 'product');
  const certificates = [
    ...readDerOrPem(read(vcekFile), 'CERTIFICATE', vcekFile),
    ...['ask', 'ark'].flatMap((role) => authority(folder, product.toLowerCase(), role)),
  ];
  const report = parseReport(read(snpFile));
  const at = timeInside(certificates);
  const claims = await verifyReport(report, { certificates, crls: [] }, realRoots, at);
  return claims.reportData;
}

/** `snp/chains/<product>/<role>.pem` of the collection, or of the one beside the repository. */
function authority(folder: CaseFolder, product: string, role: string): Uint8Array[] {
  const names = [
    `snp/chains/${product}/${role}.pem`,
    `chains/${product}/${role}.pem`,
    `trust-anchors/${role}-${product}.pem`,
  ];
  const beside = names.map((name) => join('..', 'shared', 'vectors', name));
  const path = [...names.map((name) => folder.findUpwards(name)), ...beside].find(
    (found) => found !== undefined && existsSync(found),
  );
  if (path === undefined) throw new Error(`no ${role} of ${product} beside the vectors`);
  return readDerOrPem(new Uint8Array(readFileSync(path)), 'CERTIFICATE', path);
}

function judgeFields(folder: CaseFolder): CaseVerdict[] {
  const { expected } = folder;
  const hclBytes = folder.read(hclFile);
  const hcl = parseHclReport(hclBytes);
  const cases = [
    comparison('HCL report: header', asObject(expected.hcl_header, 'hcl_header'), header(hclBytes)),
    comparison('HCL report: runtime data', lowerCase(expected.runtime_data), {
      sha256: toHex(crypto.hash(hcl.hash, hcl.runtimeData)),
      user_data: toHex(hcl.userData),
    }),
    comparison(
      'HCL report: AK',
      { spki: toHex(readPublicKey(folder.read('ak_pub.pem'))) },
      { spki: toHex(hcl.akSpki) },
    ),
  ];
  const tpm = asObject(expected.tpm_quote, 'tpm_quote');
  const quote = parseQuote(folder.read(files.message));
  cases.push(
    comparison('TPM quote: fields', asObject(tpm.fields, 'fields'), quoteFieldsJson(quote)),
  );
  if (hcl.hardware === 'tdx') {
    const bytes = folder.read(tdFile);
    const wanted = asObject(asObject(expected.td_quote, 'td_quote').fields, 'fields');
    cases.push(comparison('TD quote: fields', wanted, quoteWithChainJson(bytes)));
    return cases;
  }
  const snp = asObject(expected.snp_report, 'snp_report');
  const product = productNames.find((name) => name === snp.product);
  const report = folder.read(snpFile);
  const key = endorsementKeyJson(firstIn(folder.read(vcekFile)));
  cases.push(
    comparison('SNP report: fields', snp.fields ?? {}, reportFieldsJson(report, product)),
    comparison('VCEK: fields', snp.vcek ?? {}, key),
    comparison(
      'HCL report: SNP report',
      { hex: toHex(report) },
      { hex: toHex(hcl.hardwareReport) },
    ),
  );
  return cases;
}

/** Sizes and versions, which core reads over. */
function header(bytes: Uint8Array): JsonObject {
  const reader = new ByteReader(bytes, 'little', { offset: 4 });
  const [version, reportSize, requestType] = [reader.u32('h'), reader.u32('h'), reader.u32('h')];
  const data = new ByteReader(bytes, 'little', { offset: 1216 });
  const [dataSize, dataVersion, type] = [data.u32('h'), data.u32('h'), data.u32('h')];
  data.u32('h');
  return {
    version,
    report_size: reportSize,
    request_type: requestType,
    data_size: dataSize,
    data_version: dataVersion,
    report_type: type === 4 ? 'TDX' : 'SNP',
    variable_data_size: data.u32('h'),
  };
}

/** The vectors quote the user data as it is in the JSON, in either case. */
function lowerCase(value: Json | undefined): JsonObject {
  const { user_data: userData, ...rest } = asObject(value, 'runtime_data');
  return userData === undefined ? rest : { ...rest, user_data: String(userData).toLowerCase() };
}
