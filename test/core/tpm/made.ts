import { utf8 } from '#core/bytes.js';
import { type Endorsements, noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import { parseTpmCollection, type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { verifyTpmEvidence } from '#core/tpm/verify.js';
import { crypto } from '#crypto';
import {
  type CertificateContent,
  caExtensions,
  commonName,
  issueCertificate,
  spkiOf,
} from '../../fakes/certificates.js';
import { digest, eventLog, pcrsAfter, soundBoot } from '../../fakes/event-log.js';
import { FakeTpm, type QuoteContent } from '../../fakes/tpm.js';

// TPM evidence of a software TPM under a self-made root, sound but for the parts given.

export const now = Date.parse('2026-06-01T00:00:00Z');
export const boot = soundBoot();
export const configDocument = utf8('config document');
export const configDigest = crypto.hash('sha256', configDocument);
export const reportData = crypto.hash('sha512', utf8('binding'));
export const names = {
  root: commonName('EK/AK root'),
  ca: commonName('EK/AK intermediate'),
  ak: commonName('instance'),
};

/** PCRs after the boot and after the agent measured the config document. */
export function quotedPcrs(): Map<number, Uint8Array> {
  const pcrs = pcrsAfter(boot);
  pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, configDigest));
  return pcrs;
}

export const tpm = new FakeTpm();
export const rootKey = await crypto.generateEcKey('P-256');
export const caKey = await crypto.generateEcKey('P-256');
export const anchor: TrustAnchor = {
  format: 'tpm',
  name: 'cloud',
  spkiDigest: crypto.hash('sha256', spkiOf(rootKey)),
};

export const root = await issueCertificate(rootKey, {
  issuer: names.root,
  subject: names.root,
  spki: spkiOf(rootKey),
  extensions: caExtensions(),
});
export const ca = await issueCertificate(rootKey, {
  issuer: names.root,
  subject: names.ca,
  spki: spkiOf(caKey),
  serial: Uint8Array.of(2),
  extensions: caExtensions(0),
});

export const akCertificate = (change: Partial<CertificateContent> = {}, signer = caKey) =>
  issueCertificate(signer, {
    issuer: names.ca,
    subject: names.ak,
    spki: tpm.akSpki,
    serial: Uint8Array.of(3),
    ...change,
  });

export const ak = await akCertificate();

/** Sound evidence, with parts replaced. */
export function material(
  change: Partial<TpmMaterial> & {
    readonly quote?: QuoteContent;
    readonly pcrs?: Map<number, Uint8Array>;
  } = {},
): TpmMaterial {
  const { quote, ...rest } = change;
  const pcrs = change.pcrs ?? quotedPcrs();
  const extraData = crypto.hash('sha256', reportData);
  const attest = tpm.attest(pcrs, { extraData, ...quote });
  return {
    attest,
    signature: tpm.sign(attest, quote),
    certificates: [ak, ca, root],
    configExtensions: [configDigest],
    eventLog: eventLog(boot),
    ...rest,
    pcrs,
  };
}

export const verify = (
  given: TpmMaterial = material(),
  endorsements: Endorsements = noEndorsements,
  anchors: readonly TrustAnchor[] = [anchor],
) => verifyTpmEvidence(parseTpmCollection(tpmCollection(given)), endorsements, anchors, now);
