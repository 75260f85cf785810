import { equalBytes, isZero, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type EventLog, parseEventLog } from '#core/eventlog/parse.js';
import { replay } from '#core/eventlog/replay.js';
import type { Endorsements } from '#core/rats/endorsements.js';
import type { TdxClaims } from '#core/tdx/claims.js';
import { parseCertificates, pinnedRoot } from '#core/tdx/endorsement/collateral.js';
import { readPckPlatform } from '#core/tdx/endorsement/pck.js';
import { algorithms, pckChainOf, verifyPckChain } from '#core/tdx/endorsement/pck-chain.js';
import type { TdxEvidence } from '#core/tdx/evidence.js';
import { tdUnderDebug } from '#core/tdx/layout.js';
import { parseTdxQuote, type TdxQuote } from '#core/tdx/parse.js';
import { explainRtmrs, type TdMeasurements } from '#core/tdx/registers.js';
import { tdxScheme } from '#core/tdx/scheme.js';
import { verifyQuoteSignatures, verifyTdxQuote } from '#core/tdx/verify.js';
import { verifyChain } from '#core/x509/chain.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { replayRtmrLog } from '../rtmr-log.js';
import type { Tree } from '../tree.js';
import { endorsementsOf, type Material, needed, only, type Sound } from './material.js';

const noCollateral =
  "neither the platform's TCB nor its Quoting Enclave is judged: give Intel's collateral (--collateral)";
const noLists = 'nothing is known of revocation: give the lists of both CAs (--crl)';
const underDebug = 'the TD runs under debug: its host can read it, and no policy admits it';

/** A quote with whatever was given along. @throws CvmpError of the evidence section, USAGE */
export async function soundTdx(material: Material): Promise<Sound> {
  const quote = parseTdxQuote(needed(material, 'tdx-quote', 'there is nothing to verify').bytes);
  const log = only(material, 'event-log');
  const eventLog = log === undefined ? undefined : parseEventLog(log.bytes);
  return soundQuote({ quote, endorsements: endorsementsOf(material), eventLog }, material);
}

/** @param evidence with all endorsements that there are */
export async function soundQuote(
  { quote, endorsements, eventLog }: TdxEvidence,
  material: Material,
): Promise<Sound> {
  const { anchors, at } = material;
  requireRegisters(quote, eventLog, only(material, 'rtmr-log')?.bytes);
  if ((endorsements.documents ?? []).length > 0) {
    const claims = await verifyTdxQuote(quote, endorsements, anchors, at, eventLog);
    const verified = { scheme: tdxScheme, claims };
    return { kind: 'tdx', claims: claimsTree(claims, eventLog !== undefined), verified, notes: [] };
  }
  const platform = await verifyWithoutCollateral(quote, endorsements, material);
  const claims = {
    format: 'tdx',
    tcb_status: 'not judged',
    ...platform,
    ...quoteClaims(quote, eventLog && (await explainRtmrs(quote.td, eventLog))),
  };
  const isDebug = (quote.td.tdAttributes & tdUnderDebug) !== 0n;
  const revocation = endorsements.crls.length === 0 ? [noLists] : [];
  const notes = [noCollateral, ...revocation, ...(isDebug ? [underDebug] : [])];
  return { kind: 'tdx', claims, notes };
}

/**
 * What a quote proves without Intel's statements: a key of a platform that Intel certified signed it.
 * @returns what the certificate says of the platform
 */
export async function verifyWithoutCollateral(
  quote: TdxQuote,
  endorsements: Endorsements,
  { anchors, at }: Material,
): Promise<Tree> {
  const certificates = parseCertificates(endorsements);
  const chain = pckChainOf(quote, certificates);
  const { root, anchor } = pinnedRoot(chain, certificates, anchors);
  await verifyPckChain(chain, root, at, undefined);
  const crls = endorsements.crls.map((der, i) => parseCertificateList(der, `list ${i + 1}`));
  await verifyChain([chain.pck, chain.ca, root], { at, algorithms, crls });
  await verifyQuoteSignatures(quote, chain.pck);
  const { fmspc, ppid } = readPckPlatform(chain.pck);
  return { root: anchor.name, fmspc: toHex(fmspc), ppid: toHex(ppid) };
}

/**
 * Stops a log of another boot: what it says of a register must be what the register holds. A register
 * that it says nothing of is open.
 */
function requireRegisters(
  { td }: TdxQuote,
  eventLog: EventLog | undefined,
  rtmrLog: Uint8Array | undefined,
): void {
  const replayed = new Map(rtmrLog === undefined ? [] : replayRtmrLog(rtmrLog));
  // Register 0 of a CC event log is MRTD, n + 1 is RTMRn.
  if (eventLog !== undefined) {
    for (const [register, value] of replay(eventLog, 'sha384')) {
      if (register > 0) replayed.set(register - 1, value);
    }
  }
  for (const [rtmr, value] of replayed) {
    const found = td.rtmr[rtmr];
    if (found !== undefined && equalBytes(found, value)) continue;
    const what = `RTMR${rtmr} is not what the event log says`;
    throw new CvmpError('EVENT_LOG_MISMATCH', what, { field: 'event_log' });
  }
}

function claimsTree(claims: TdxClaims, hasLog: boolean): Tree {
  const { tcb, platform, measurements } = claims;
  return {
    format: 'tdx',
    simulated: claims.simulated,
    tcb_status: tcb.status,
    tcb_date: tcb.tcbDate === undefined ? '' : new Date(tcb.tcbDate).toISOString(),
    advisories: tcb.advisoryIds.join(' '),
    evaluation_number: tcb.evaluationNumber,
    fmspc: toHex(platform.fmspc),
    ppid: toHex(platform.ppid),
    ...quoteClaims(claims.quote, hasLog ? measurements : undefined),
    endorsement_key_sha256: toHex(claims.endorsementDigest),
  };
}

function quoteClaims({ td, version }: TdxQuote, measured: TdMeasurements | undefined): Tree {
  const { mrServiceTd } = td;
  return {
    quote_version: version,
    debug: (td.tdAttributes & tdUnderDebug) !== 0n,
    td_attributes: `0x${td.tdAttributes.toString(16)}`,
    xfam: `0x${td.xfam.toString(16)}`,
    tee_tcb_svn: toHex(td.teeTcbSvn),
    mr_td: toHex(td.mrTd),
    ...Object.fromEntries(td.rtmr.map((value, i) => [`rtmr${i}`, toHex(value)])),
    mr_config_id: toHex(td.mrConfigId),
    report_data: toHex(td.reportData),
    ...(mrServiceTd === undefined || isZero(mrServiceTd)
      ? {}
      : { mr_service_td: toHex(mrServiceTd) }),
    ...(measured === undefined
      ? {}
      : {
          explained: [...measured.explained].map((i) => `RTMR${i}`).join(' '),
          secure_boot: measured.secureBoot.state,
        }),
  };
}
