import { beforeAll, describe, expect, it } from 'vitest';
import { verifyEvidenceFiles } from '#cli/evidence/evidence.js';
import type { NamedFile } from '#cli/evidence/pieces.js';
import { readTrustAnchors } from '#cli/evidence/trust-anchors.js';
import { concat, toHex, utf8 } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { snpCollection } from '#core/snp/evidence.js';
import { toPem } from '#core/x509/pem.js';
import type { ExtendedReport } from '#sim/guest.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import {
  flipped,
  launchTestGuest,
  simulatedProcessor,
  testTime,
} from '../fakes/simulated-hardware.js';
import { refusalOf } from '../refusal.js';

let processor: SecurityProcessor;
let made: ExtendedReport;
beforeAll(async () => {
  processor = await simulatedProcessor();
  const guest = await launchTestGuest(processor);
  made = await guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
});

const file = (name: string, bytes: Uint8Array) => ({ name, bytes });
const ders = () => parseCertTable(made.certTable).map(({ data }) => data);
const pem = (...list: Uint8Array[]) => utf8(list.map((der) => toPem('CERTIFICATE', der)).join(''));
const anchorsJson = () => {
  const { name, spkiDigest } = processor.chip.authority.anchor;
  return utf8(JSON.stringify({ anchors: [{ name, spki_sha256: toHex(spkiDigest), more: 1 }] }));
};

interface Given {
  readonly evidence?: NamedFile;
  readonly certificates?: readonly NamedFile[];
  readonly crls?: readonly NamedFile[];
  readonly trustAnchors?: NamedFile | undefined;
  readonly at?: number;
}

const files = (change: Given = {}) => ({
  files: [
    change.evidence ?? file('report.bin', made.report),
    ...(change.certificates ?? ders().map((der, i) => file(`${i}.der`, der))),
    ...(change.crls ?? []),
  ],
  trustAnchors: 'trustAnchors' in change ? undefined : file('anchors.json', anchorsJson()),
  at: change.at ?? testTime,
  ...(change.trustAnchors === undefined ? {} : { trustAnchors: change.trustAnchors }),
});

/** `accepted`, or code and failing check. */
async function outcome(change: Given = {}): Promise<string> {
  const verdict = await verifyEvidenceFiles(files(change));
  return verdict.accepted ? 'accepted' : `${verdict.failure.code} ${verdict.failure.check}`;
}

describe('cvmp evidence verify', () => {
  it('accepts a report with its certificates as DER, PEM or one bundle', async () => {
    const [leaf, ask, ark] = ders() as [Uint8Array, Uint8Array, Uint8Array];
    expect(await outcome()).toBe('accepted');
    const bundle = [file('vcek.der', leaf), file('cert_chain.pem', pem(ask, ark))];
    expect(await outcome({ certificates: bundle })).toBe('accepted');
    expect(await outcome({ certificates: [file('all.pem', pem(ark, leaf, ask))] })).toBe(
      'accepted',
    );
  });

  it('accepts what cvmp cvm verify kept, certificates included', async () => {
    const collection = encodeCmw(snpCollection(made.report, made.certTable));
    expect(await outcome({ evidence: file('e', collection), certificates: [] })).toBe('accepted');
  });

  it.each<[why: string, expected: string, change: () => Given]>([
    ['under the roots of AMD', 'UNTRUSTED_ROOT root', () => ({ trustAnchors: undefined })],
    ['cut off', 'MALFORMED report', () => ({ evidence: file('r', made.report.subarray(1)) })],
    [
      'changed',
      'EVIDENCE_SIGNATURE_INVALID SIGNATURE',
      () => ({ evidence: file('r', flipped(made.report, 0x90)) }),
    ],
    ['without certificates', 'CHAIN_INVALID chain', () => ({ certificates: [] })],
    [
      'with a certificate file that is none',
      'MALFORMED x',
      () => ({ certificates: [file('x', utf8('hello'))] }),
    ],
    [
      'with a broken PEM',
      'MALFORMED x.pem',
      () => ({ certificates: [file('x.pem', concat(utf8('text\n'), pem(ders()[0]!)))] }),
    ],
    [
      'after the certificates expired',
      'CERT_EXPIRED CN=SEV-VCEK,O=CVMP simulated security processor,C=ZZ,OU=Engineering',
      () => ({ at: Date.UTC(2099, 0, 1) }),
    ],
    [
      'with a list that revokes the ASK',
      'CERT_REVOKED CN=SEV-Genoa,O=CVMP simulated security processor,C=ZZ,OU=Engineering',
      () => ({ crls: [file('crl', processor.chip.authority.issueCrl(testTime - 1000, ['ask']))] }),
    ],
  ])('refuses a report %s: %s', async (_, expected, change) => {
    expect(await outcome(change())).toBe(expected);
  });

  it('trust anchors are JSON or PEM; what is neither is wrong usage, not bad evidence', async () => {
    const ark = pem(processor.chip.authority.arkCertificate);
    expect(await outcome({ trustAnchors: file('roots.pem', ark) })).toBe('accepted');
    for (const text of [
      '',
      '{}',
      'null',
      '[]',
      '{"anchors": []}',
      '{"anchors": [null]}',
      '{"anchors": [{"name": "x"}]}',
      '{"anchors": [{"name": "x", "spki_sha256": "00"}]}',
      `{"anchors": [{"name": "x", "spki_sha256": "${'zz'.repeat(32)}"}]}`,
    ]) {
      expect(await refusalOf(() => readTrustAnchors(file('a', utf8(text))))).toBe('USAGE');
    }
  });

  it('the claims that people look at are named', async () => {
    const verdict = await verifyEvidenceFiles(files());
    if (!verdict.accepted) throw new Error(verdict.failure.message);
    expect(verdict.claims).toMatchObject({
      product: 'Genoa',
      simulated: true,
      signing_key: 'VCEK',
      vmpl: 0,
      reported_tcb: processor.settings.tcb,
    });
    expect(verdict.verified?.scheme.format).toBe('snp');
  });
});
