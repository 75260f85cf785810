import { join } from 'node:path';
import { fromHex, toHex } from '#core/bytes.js';
import { reportLength } from '#core/snp/layout.js';
import { parseReport } from '#core/snp/parse.js';
import { productNames } from '#core/snp/product.js';
import { readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { chipIdOf, endorsementKeyJson, reportFieldsJson } from './fields.js';
import {
  certificatesIn,
  firstIn,
  outcomeOf,
  pinned,
  realRoots,
  rejected,
  type SnpMaterial,
  timeInside,
  verdict,
} from './verify.js';

/** Kind `amd-sev-snp-report`: one genuine report, its chain, and files derived from it. */
export async function judgeReport(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const file = asString(expected.report_file, 'report_file');
  const report = folder.read(file);
  const product = productNames.find((name) => name === expected.product);
  const fields = reportFieldsJson(report, product);
  const sha256 = toHex(crypto.hash('sha256', report));
  const cases = [
    comparison(`${file}: fields`, asObject(expected.fields, 'fields'), fields),
    comparison(`${file}: bytes`, { sha256: expected.bytes_sha256 ?? sha256 }, { sha256 }),
  ];
  const keyFile = expected.endorsement_key_file;
  if (typeof keyFile !== 'string') return cases;

  if (expected.endorsement_key !== undefined) {
    const found = endorsementKeyJson(firstIn(folder.read(keyFile)));
    cases.push(comparison(`${keyFile}: fields`, expected.endorsement_key, found));
  }
  const chain = asObject(expected.chain, 'chain');
  const issuers = ['intermediate', 'ark'].map((role) => asString(chain[role], `chain.${role}`));
  const judge = async (name: string, wanted: JsonObject) => {
    const outcome = await outcomeOf(() => {
      const files = [keyFile, ...issuers].map((path) => folder.read(path));
      const certificates = files.flatMap(certificatesIn);
      return {
        report: folder.read(name),
        endorsements: { certificates, crls: [] },
        anchors: realRoots,
        at: timeOf(expected) ?? timeInside(certificates),
      };
    });
    cases.push(against(name, wanted, outcome));
  };
  await judge(file, expected);
  for (const item of asList(expected.negatives ?? [], 'negatives')) {
    const negative = asObject(item, 'negative');
    await judge(asString(negative.file, 'negative.file'), negative);
  }
  return cases;
}

/** Kind `amd-snp-chain-cases`: leaf, intermediate and root that may not belong together. */
export async function judgeChainCases(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const cases: CaseVerdict[] = [];
  for (const item of asList(folder.expected.cases, 'cases')) {
    const wanted = asObject(item, 'case');
    const name = asString(wanted.name, 'name');
    const outcome = await outcomeOf(() => {
      const files = ['leaf.der', 'intermediate.der', 'root.der'].map((file) => join(name, file));
      const certificates = files.flatMap((file) => certificatesIn(folder.read(file)));
      return {
        report: folder.read(join(name, 'report.bin')),
        endorsements: { certificates, crls: [] },
        anchors: realRoots,
        at: timeOf(wanted) ?? timeInside(certificates),
      };
    });
    cases.push(against(name, wanted, outcome));
    if (wanted.endorsement_key !== undefined) {
      const found = endorsementKeyJson(firstIn(folder.read(join(name, 'leaf.der'))));
      cases.push(comparison(`${name}/leaf.der: fields`, wanted.endorsement_key, found));
    }
  }
  return cases;
}

/** Kind `amd-snp-synthetic`: true formats under roots that somebody made; each pinned, then not. */
export async function judgeSynthetic(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const product = productNames.find((name) => name === expected.product);
  const cases: CaseVerdict[] = [];
  if (folder.has('reports/good.bin') && expected.fields_of_good !== undefined) {
    const found = reportFieldsJson(folder.read('reports/good.bin'), product);
    cases.push(comparison('reports/good.bin: fields', expected.fields_of_good, found));
    if (typeof expected.hwid === 'string') {
      const chipId = chipIdOf(fromHex(expected.hwid));
      cases.push(comparison('reports/good.bin: hwid', { chip_id: chipId }, found));
    }
  }
  for (const [index, item] of asList(expected.cases, 'cases').entries()) {
    cases.push(...(await judgeSyntheticCase(folder, asObject(item, 'case'), index + 1)));
  }
  return cases;
}

async function judgeSyntheticCase(
  folder: CaseFolder,
  wanted: JsonObject,
  number: number,
): Promise<readonly CaseVerdict[]> {
  const read = (role: string) => folder.read(asString(wanted[role], role));
  const material = (anchors: () => SnpMaterial['anchors']): SnpMaterial => {
    const certificates = ['leaf', 'intermediate', 'root'].map(read).flatMap(certificatesIn);
    const hasCrl = typeof wanted.crl === 'string';
    const crls = hasCrl ? readDerOrPem(read('crl'), 'X509 CRL', 'crl') : [];
    return {
      report: read('report'),
      endorsements: { certificates, crls },
      anchors: anchors(),
      at: timeOf(wanted) ?? timeInside(certificates),
    };
  };
  const own = asString(wanted.verdict_when_this_ark_is_pinned, 'verdict');
  const name = `${number} ${String(wanted.report)} ${String(wanted.leaf)}`;
  const outcome = await outcomeOf(
    () => material(() => [pinned(firstIn(read('root')))]),
    own === 'policy',
  );
  const other = otherVersion(wanted, read('report'));
  const underOwn: CaseVerdict =
    other === undefined
      ? against(name, { ...wanted, verdict: own }, outcome)
      : { name: `${name}: ${other}`, expected: own, actual: outcome, asExpected: undefined };
  const foreign = asString(wanted.verdict_with_real_amd_roots, 'verdict_with_real_amd_roots');
  const underAmd = await outcomeOf(() => material(() => realRoots));
  return [underOwn, verdict(`${name}, AMD's roots`, foreign, underAmd)];
}

/**
 * Says so where the report is of another version than the case is about: some generators take version
 * 0 for "as usual", and then the file is a good report that nobody can refuse.
 */
function otherVersion(wanted: JsonObject, report: Uint8Array): string | undefined {
  const stated = /^version (\d+)\b/.exec(String(wanted.what))?.[1];
  if (stated === undefined || report.length !== reportLength) return undefined;
  const { version } = parseReport(report);
  if (Number(stated) === version) return undefined;
  return `the file has VERSION ${version}, not ${stated}`;
}

/** Compares an outcome with `verdict` and `reason_class` of a case. */
function against(name: string, wanted: JsonObject, outcome: string): CaseVerdict {
  const stated = asString(wanted.verdict, 'verdict');
  const reason = wanted.reason_class;
  switch (stated) {
    case 'accept':
      return verdict(name, 'accept', outcome);
    case 'reject':
      return typeof reason === 'string'
        ? verdict(name, rejected(reason), outcome)
        : { name, expected: stated, actual: outcome, asExpected: outcome.startsWith('reject') };
    case 'policy':
      return verdict(name, `policy (${String(reason)})`, outcome);
    case 'implementation-defined': {
      const refused = rejected(String(reason));
      const asExpected = outcome === 'accept' || outcome === refused;
      return { name, expected: `accept or ${refused}`, actual: outcome, asExpected };
    }
    default:
      return { name, expected: stated, actual: outcome, asExpected: undefined };
  }
}

function timeOf(wanted: JsonObject): number | undefined {
  const stated: Json | undefined = wanted.evaluation_time;
  return typeof stated === 'string' ? Date.parse(stated) : undefined;
}
