import { toHex } from '#core/bytes.js';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import type { Statement } from '#core/tdx/endorsement/collateral.js';
import { readPckPlatform } from '#core/tdx/endorsement/pck.js';
import { pckChainOf, verifyPckChain } from '#core/tdx/endorsement/pck-chain.js';
import { verifyQeIdentity } from '#core/tdx/endorsement/qe-identity.js';
import { parseSignedJson } from '#core/tdx/endorsement/signed-json.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { verifySigner, verifyStatements } from '#core/tdx/endorsement/verify-collateral.js';
import { parseTdxQuote, type TdxQuote } from '#core/tdx/parse.js';
import { evaluateTcb, type TcbEvaluation } from '#core/tdx/tcb.js';
import { verifyQuoteSignatures } from '#core/tdx/verify.js';
import type { Certificate } from '#core/x509/certificate.js';
import { verifyChain } from '#core/x509/chain.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { crypto } from '#crypto';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { certificateJson, evaluationJson, platformJson, quoteFieldsJson } from './fields.js';
import { against, certificatesIn, outcomeOf, pinned, verifyWithoutCollateral } from './verify.js';

/** Kind `intel-tdx-quote`: a genuine quote, collateral of its time, and files derived from them. */
export async function judgeQuote(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const file = asString(expected.quote_file, 'quote_file');
  const bytes = folder.read(file);
  const quote = parseTdxQuote(bytes);
  const chain = carriedChain(quote);
  const cases = [
    comparison(`${file}: fields`, asObject(expected.fields, 'fields'), quoteWithChainJson(bytes)),
    comparison(`${file}: bytes`, { sha256: asString(expected.sha256, 'sha256') }, digest(bytes)),
  ];
  const at = evaluationTime(expected) ?? Math.max(...chain.map(({ notBefore }) => notBefore));
  const base = { verdict: expected.verdict_without_collateral ?? null, ...reasonOf(expected) };
  const judge = async (name: string, wanted: JsonObject, anchors: readonly TrustAnchor[]) => {
    const outcome = await outcomeOf(async () => {
      await verifyWithoutCollateral(folder.read(name), anchors, at);
      return 'accept';
    });
    cases.push(against(name, wanted, outcome));
  };
  await judge(file, base, intelRoots);
  // Files derived from a quote under another root are refused for that already; what they are about
  // shows under their own root.
  const isForeign = base.verdict === 'reject';
  const anchors = isForeign ? chain.slice(-1).map(pinned) : intelRoots;
  const hasCollateral = expected.collateral !== undefined && expected.collateral !== null;
  if (hasCollateral) cases.push(...(await judgeCollateral(folder, quote, at)));
  for (const item of asList(expected.negatives ?? [], 'negatives')) {
    const negative = asObject(item, 'negative');
    const name = asString(negative.file, 'negative.file');
    if (typeof negative.replaces === 'string') {
      const outcome = await outcomeOf(async () => {
        await evaluate(folder, quote, at, { [String(negative.replaces)]: name });
        return 'accept';
      });
      cases.push(against(name, negative, outcome));
    } else {
      await judge(name, negative, anchors);
    }
  }
  return cases;
}

function reasonOf(expected: JsonObject): JsonObject {
  return expected.reason_class === undefined ? {} : { reason_class: expected.reason_class };
}

function digest(bytes: Uint8Array): JsonObject {
  return { sha256: toHex(crypto.hash('sha256', bytes)) };
}

/** Fields of a quote with its PCK certificate and chain. */
export function quoteWithChainJson(bytes: Uint8Array): JsonObject {
  const quote = parseTdxQuote(bytes);
  const { pck } = pckChainOf(quote);
  return {
    ...quoteFieldsJson(quote, bytes.length),
    pck: platformJson(readPckPlatform(pck), pck.issuer.text),
    pck_chain: carriedChain(quote).map(certificateJson),
  };
}

/** The certificates in the quote, in their order. */
function carriedChain(quote: TdxQuote): Certificate[] {
  const pem = quote.certificationData;
  const end = pem.lastIndexOf(0x2d) + 1;
  return certificatesIn(pem.subarray(0, end));
}

function evaluationTime({ collateral }: JsonObject): number | undefined {
  const stated = collateral === undefined ? undefined : asObject(collateral, 'collateral');
  const time = stated?.evaluation_time;
  return typeof time === 'string' ? Date.parse(time) : undefined;
}

/** The TCB by the included collateral, as far as the files go. */
async function judgeCollateral(
  folder: CaseFolder,
  quote: TdxQuote,
  at: number,
): Promise<readonly CaseVerdict[]> {
  const stated = asObject(folder.expected.collateral, 'collateral');
  const wanted = { tcb_evaluation: stated.tcb_evaluation, qe_evaluation: stated.qe_evaluation };
  const tcb = await evaluate(folder, quote, at, {});
  const found = evaluationJson(tcb, quote.td.teeTcbSvn);
  const isUnmatched = JSON.stringify(wanted).includes('no matching TCB level');
  return [
    comparison('collateral: TCB', withoutRemarks(wanted as JsonObject), found),
    {
      name: 'collateral: a quote without a level is not up to date',
      expected: isUnmatched ? 'no status' : 'a status',
      actual: tcb.status ?? 'no status',
      asExpected: isUnmatched === (tcb.status === undefined),
    },
  ];
}

/** Modules without a version have a sentence where others have a status. */
function withoutRemarks(wanted: JsonObject): JsonObject {
  const evaluation = asObject(wanted.tcb_evaluation, 'tcb_evaluation');
  const module = asObject(evaluation.tdx_module, 'tdx_module');
  if (module.id !== null) return wanted;
  const { status: _, ...rest } = module;
  return { ...wanted, tcb_evaluation: { ...evaluation, tdx_module: rest } };
}

/**
 * Steps 2 to 13 with the files of the folder. Revocation lists are used where they are there.
 * @param replaced files that stand in for others
 */
async function evaluate(
  folder: CaseFolder,
  quote: TdxQuote,
  at: number,
  replaced: Readonly<Record<string, string>>,
): Promise<TcbEvaluation> {
  const read = (file: string) => folder.read(replaced[file] ?? file);
  const list = (file: string) => (folder.has(file) ? parseCertificateList(read(file)) : undefined);
  const [signer, root] = certificatesIn(read('collateral/tcb_signing_chain.pem'));
  if (signer === undefined || root === undefined) throw new Error('no TCB signing chain');
  const [rootCrl, pckCrl] = [list('collateral/root_ca_crl.der'), list('collateral/pck_crl.der')];
  const crls = rootCrl && pckCrl ? { root: rootCrl, pck: pckCrl } : undefined;
  // The certificates were collected apart from the collateral: Intel re-issued this one later for the
  // same key. Before its time only the chain can be verified.
  if (crls !== undefined && at >= signer.notBefore) {
    await verifySigner({ signer, root, crls }, at);
  } else {
    const algorithms = ['ES256'] as const;
    await verifyChain([signer, root], { at: Math.max(at, signer.notBefore), algorithms });
  }
  const { tcbInfo, qeIdentity } = await verifyStatements(
    {
      signer,
      tcbInfo: statement(read('collateral/tcb_info.json'), 'tcbInfo'),
      qeIdentity: statement(read('collateral/qe_identity.json'), 'enclaveIdentity'),
    },
    at,
  );
  const chain = pckChainOf(quote);
  await verifyPckChain(chain, root, at, crls);
  await verifyQuoteSignatures(quote, chain.pck);
  verifyQeIdentity(quote.qeReport, qeIdentity);
  return evaluateTcb(quote, readPckPlatform(chain.pck), tcbInfo, qeIdentity);
}

function statement(document: Uint8Array, member: string): Statement {
  return { document, json: parseSignedJson(document, member) };
}
