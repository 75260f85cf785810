import { azureSnpScheme, azureTdxScheme } from '#core/azure/scheme.js';
import { equalBytes, isZero, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type EventLog, parseEventLog } from '#core/eventlog/parse.js';
import { type Bank, replay } from '#core/eventlog/replay.js';
import type { Claims } from '#core/rats/claims.js';
import { parseReport } from '#core/snp/parse.js';
import { snpScheme } from '#core/snp/scheme.js';
import { verifyReport } from '#core/snp/verify.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyKeyCertificate } from '#core/tpm/ak/chain.js';
import { parseHclReport, verifyRuntimeData } from '#core/tpm/ak/hcl.js';
import { parseQuote } from '#core/tpm/attest.js';
import type { AkTrust, Measurements } from '#core/tpm/claims.js';
import { launchMeasurementOf, verifyMeasurements } from '#core/tpm/measurements.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import { type PcrValues, requireBank, verifyQuoteSignature } from '#core/tpm/quote.js';
import { tpmScheme } from '#core/tpm/scheme.js';
import { parseTpmSignature, rawRsaSignature } from '#core/tpm/signature.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import { pcrTree, tpmQuoteTree } from '../show/tpm.js';
import type { Tree } from '../tree.js';
import { endorsementsOf, type Material, needed, only, type Sound } from './material.js';
import { claimsTree as snpClaims } from './snp.js';
import { soundQuote as soundTdxQuote } from './tdx.js';

const keyWhy = 'the key that signed the quote: a public key (PEM, TPMT_PUBLIC) or its certificate';

/** A quote with its signature, key and PCR values. @throws CvmpError of the evidence section, USAGE */
export async function soundTpm(material: Material): Promise<Sound> {
  const { spki, ak, text } = await attestationKey(material);
  const measured = await soundMeasurements(material, spki);
  const akDigest = crypto.hash('sha256', spki);
  const claims = { format: 'tpm', ak_trust: text, ak_sha256: toHex(akDigest), ...measured.tree };
  const { measurements } = measured;
  if (measurements === undefined) return { kind: 'tpm', claims, notes: measured.notes };
  const tpmClaims = {
    ...anyClaims(measurements),
    format: 'tpm',
    measurements,
    ak,
    akDigest,
  } as const;
  return {
    kind: 'tpm',
    claims,
    notes: measured.notes,
    verified: { scheme: tpmScheme, claims: tpmClaims },
  };
}

/** Claims that appraisal does not look at: files hold no session and no config document. */
function anyClaims(measurements: Measurements): Claims {
  return {
    format: 'tpm',
    simulated: true,
    reportData: measurements.quote.extraData,
    configBinding: { field: 'PCR 15', hash: measurements.bank, digest: new Uint8Array() },
    launchMeasurement: launchMeasurementOf(measurements),
    instanceId: undefined,
    chipId: undefined,
  };
}

interface GivenKey {
  readonly spki: Uint8Array;
  readonly ak: AkTrust;
  readonly text: string;
}

/** A certificate is verified; a bare key is taken from who gives it. */
async function attestationKey(material: Material): Promise<GivenKey> {
  const area = only(material, 'tpm-public');
  const pem = only(material, 'public-key');
  const given = area === undefined ? pem?.bytes : parsePublicArea(area.bytes).spki;
  if (area !== undefined && pem !== undefined && !equalBytes(given!, pem.bytes)) {
    throw new CvmpError('USAGE', `${area.name} and ${pem.name} are different keys`);
  }
  const endorsements = endorsementsOf(material);
  const [leaf, ...issuers] = endorsements.certificates;
  if (leaf !== undefined) {
    const certificate = parseCertificate(leaf, 'ak_certificate');
    const all = { ...endorsements, certificates: issuers };
    const anchor = await verifyKeyCertificate(certificate, all, material.anchors, material.at);
    const ak: AkTrust = { by: 'certificate', anchor, instance: undefined };
    return { spki: certificate.spki, ak, text: `certificate under ${anchor.name}` };
  }
  if (given === undefined) throw new CvmpError('USAGE', `public-key is missing: ${keyWhy}`);
  const ek = { akName: given, ekDigest: given, anchorName: 'given', simulated: true };
  return { spki: given, ak: { by: 'activated-credential', ek }, text: 'given on the command line' };
}

interface Measured {
  readonly tree: Tree;
  /** Undefined without PCR values. */
  readonly measurements: Measurements | undefined;
  readonly notes: readonly string[];
}

async function soundMeasurements(material: Material, akSpki: Uint8Array): Promise<Measured> {
  const quote = parseQuote(needed(material, 'tpm-quote', 'there is nothing to verify').bytes);
  const signed = needed(material, 'tpm-signature', 'the quote is signed in a file of its own');
  const signature = signed.isRaw ? rawRsaSignature(signed.bytes) : parseTpmSignature(signed.bytes);
  const log = only(material, 'event-log');
  const eventLog = log === undefined ? undefined : parseEventLog(log.bytes);
  const banks = only(material, 'pcrs')?.banks;
  const pcrs = banks?.get(quote.selections[0]?.bank ?? '') ?? [...(banks?.values() ?? [])][0];
  if (pcrs === undefined) {
    await verifyQuoteSignature(quote, signature, akSpki);
    const notes = ['what the PCRs held is not judged: give their values (JSON)'];
    return { tree: tpmQuoteTree(quote), measurements: undefined, notes };
  }
  const configExtensions: readonly Uint8Array[] = [];
  const evidence = { quote, signature, pcrs, configExtensions, eventLog };
  const none = { akPublic: undefined, certificates: [], ekCertificates: [] };
  const measurements = await verifyMeasurements({ ...evidence, ...none }, akSpki);
  requireLog(pcrs, requireBank(quote), eventLog);
  const notes = eventLog === undefined ? ['nothing explains the PCRs: give the event log'] : [];
  return { tree: measuredTree(measurements), measurements, notes };
}

/** Stops a log of another boot: a PCR that it extends must hold what it says. */
function requireLog(pcrs: PcrValues, bank: Bank, eventLog: EventLog | undefined): void {
  if (eventLog === undefined) return;
  for (const [register, value] of replay(eventLog, bank)) {
    const quoted = pcrs.get(register);
    if (quoted === undefined || equalBytes(quoted, value)) continue;
    const what = `PCR ${register} is not what the event log says`;
    throw new CvmpError('EVENT_LOG_MISMATCH', what, { field: 'event_log' });
  }
}

function measuredTree({ quote, bank, pcrs, explained, secureBoot }: Measurements): Tree {
  return {
    ...tpmQuoteTree(quote),
    [bank]: pcrTree(pcrs),
    explained: [...explained]
      .sort((a, b) => a - b)
      .map((pcr) => `PCR ${pcr}`)
      .join(', '),
    secure_boot: secureBoot.state === 'unknown' ? `unknown: ${secureBoot.why}` : secureBoot.state,
  };
}

/**
 * Azure's HCL report with the hardware's evidence and the vTPM's quote, where they are given: each
 * link is verified, so that they are of one machine.
 * @throws CvmpError of the evidence section, USAGE
 */
export async function soundAzure(material: Material): Promise<Sound> {
  const hcl = parseHclReport(needed(material, 'azure-hcl-report', 'there is nothing').bytes);
  const hardware = await (hcl.hardware === 'snp'
    ? azureSnp(material, hcl.hardwareReport)
    : azureTdx(material));
  verifyRuntimeData(hcl, hardware.reportData);
  requireSameKey(material, hcl.akSpki);
  const hasQuote = only(material, 'tpm-quote') !== undefined;
  const measured = hasQuote ? await soundMeasurements(material, hcl.akSpki) : undefined;
  const binding = measured === undefined ? [] : bindingNotes(hcl.userData, measured);
  const akDigest = crypto.hash('sha256', hcl.akSpki);
  const noQuote = ['the vTPM showed nothing: give its quote, signature and PCR values'];
  const claims = {
    format: `azure-${hcl.hardware}`,
    ak_trust: 'azure-hcl',
    ak_sha256: toHex(akDigest),
    user_data: toHex(hcl.userData),
    hardware: hardware.sound.claims,
    ...(measured === undefined ? {} : { tpm: measured.tree }),
  };
  const notes = [...hardware.sound.notes, ...(measured?.notes ?? noQuote), ...binding];
  const own = hardware.sound.verified?.claims;
  const measurements = measured?.measurements;
  if (own === undefined || measurements === undefined)
    return { kind: claims.format, claims, notes };
  const scheme = hcl.hardware === 'snp' ? azureSnpScheme : azureTdxScheme;
  const all = { ...own, format: claims.format, hardware: own, measurements, akDigest };
  return { kind: claims.format, claims, notes, verified: { scheme, claims: all } };
}

/** Stops a key that somebody takes for the AK of this machine. */
function requireSameKey(material: Material, akSpki: Uint8Array): void {
  const given = only(material, 'public-key');
  if (given === undefined || equalBytes(given.bytes, akSpki)) return;
  throw new CvmpError('AK_UNTRUSTED', `${given.name} is not the AK of the HCL report`, {
    field: 'hcl_report.ak',
  });
}

/** Whether both were made for one purpose; files of different sessions are genuine all the same. */
function bindingNotes(userData: Uint8Array, { tree }: Measured): readonly string[] {
  const shared = [userData, crypto.hash('sha256', userData), crypto.hash('sha384', userData)];
  if (isZero(userData) || shared.some((value) => toHex(value) === tree.extraData)) return [];
  return ['the quote is over another value than the user data of the report: not of one session'];
}

interface Hardware {
  readonly sound: Sound;
  readonly reportData: Uint8Array;
}

async function azureSnp(material: Material, inside: Uint8Array): Promise<Hardware> {
  const beside = only(material, 'snp-report');
  if (beside !== undefined && !equalBytes(beside.bytes, inside)) {
    const what = `${beside.name} is not the report inside of the HCL report`;
    throw new CvmpError('RUNTIME_DATA_MISMATCH', what, { field: 'hcl_report' });
  }
  const { anchors, at } = material;
  const claims = await verifyReport(parseReport(inside), endorsementsOf(material), anchors, at);
  const sound = { kind: 'snp', claims: snpClaims(claims), notes: [] };
  return {
    sound: { ...sound, verified: { scheme: snpScheme, claims } },
    reportData: claims.reportData,
  };
}

async function azureTdx(material: Material): Promise<Hardware> {
  const { bytes } = needed(material, 'tdx-quote', 'the HCL report is of a TD');
  const quote = parseTdxQuote(bytes);
  const endorsements = endorsementsOf(material);
  // A log beside an HCL report is the vTPM's.
  const evidence = { quote, endorsements, eventLog: undefined };
  return { sound: await soundTdxQuote(evidence, material), reportData: quote.td.reportData };
}
