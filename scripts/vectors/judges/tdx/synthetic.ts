import type { TrustAnchor } from '#core/rats/endorsements.js';
import { qeIdentityType, tcbInfoType } from '#core/tdx/endorsement/collateral.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyTdxQuote } from '#core/tdx/verify.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { quoteFieldsJson } from './fields.js';
import { against, appraised, certificatesIn, outcomeOf, pinned } from './verify.js';

/** Kind `intel-tdx-synthetic`: true formats under a root that somebody made; pinned, then not. */
export async function judgeSyntheticQuotes(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const cases: CaseVerdict[] = [];
  if (expected.fields_of_good !== undefined && folder.has('quotes/good.bin')) {
    const bytes = folder.read('quotes/good.bin');
    const found = quoteFieldsJson(parseTdxQuote(bytes), bytes.length);
    cases.push(comparison('quotes/good.bin: fields', expected.fields_of_good, found));
  }
  for (const [index, item] of asList(expected.cases, 'cases').entries()) {
    cases.push(...(await judgeCase(folder, asObject(item, 'case'), index + 1)));
  }
  return cases;
}

async function judgeCase(
  folder: CaseFolder,
  wanted: JsonObject,
  number: number,
): Promise<readonly CaseVerdict[]> {
  const chain = asList(wanted.tcb_signing_chain, 'tcb_signing_chain').flatMap((file) =>
    certificatesIn(folder.read(asString(file, 'tcb_signing_chain'))),
  );
  const read = (role: string) => folder.read(asString(wanted[role], role));
  const at = Date.parse(asString(wanted.evaluation_time, 'evaluation_time'));
  const outcome = (anchors: readonly TrustAnchor[]) =>
    outcomeOf(async () => {
      const endorsements = {
        certificates: chain.map(({ der }) => der),
        crls: [read('pck_crl'), read('root_ca_crl')],
        documents: [
          { mediaType: tcbInfoType, value: read('tcb_info') },
          { mediaType: qeIdentityType, value: read('qe_identity') },
        ],
      };
      const quote = parseTdxQuote(read('quote'));
      return appraised(await verifyTdxQuote(quote, endorsements, anchors, at));
    });
  const name = `${number} ${String(wanted.quote)} (${String(wanted.what)})`;
  const own = { ...wanted, verdict: wanted.verdict_when_this_root_is_pinned ?? null };
  const foreign = asString(wanted.verdict_with_real_intel_root, 'verdict_with_real_intel_root');
  const underIntel = await outcome(intelRoots);
  return [
    against(name, own, await outcome(chain.slice(-1).map(pinned))),
    {
      name: `${name}, Intel's root`,
      expected: foreign,
      actual: underIntel,
      asExpected: underIntel === foreign,
    },
  ];
}
