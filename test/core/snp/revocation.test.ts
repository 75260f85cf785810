import { sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import type { ErrorCode } from '#core/errors.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { encodeCertTable } from '#core/snp/endorsement/cert-table.js';
import { parseSnpCollection, snpCollection } from '#core/snp/evidence.js';
import { snpScheme } from '#core/snp/scheme.js';
import { parseCertificateList } from '#core/x509/crl.js';
import type { SimulatedAuthority } from '#sim/authority.js';
import {
  authorityExtensions,
  type CrlContent,
  extension,
  issueCertificate,
  issueCrl,
  pssSha384WithTrailer,
  rsaSpki,
} from '#sim/certificates.js';
import type { ExtendedReport, SimulatedGuest } from '#sim/guest.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import {
  flipped,
  launchTestGuest,
  simulatedAuthority,
  simulatedProcessor,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

const hour = 3_600_000;
const day = 24 * hour;
const reportData = new Uint8Array(64);
const cspId = 'CN=provider';

let processor: SecurityProcessor;
let guest: SimulatedGuest;
let authority: SimulatedAuthority;
let other: SimulatedAuthority;
beforeAll(async () => {
  processor = await simulatedProcessor();
  guest = await launchTestGuest(processor);
  authority = processor.chip.authority;
  other = await simulatedAuthority('Turin');
});

async function made(kind: 'VCEK' | 'VLEK', carried: readonly Uint8Array[] = []) {
  processor.configure({ cspId: kind === 'VLEK' ? cspId : undefined, crls: carried });
  const report = await guest.report({ reportData, vmpl: 0 });
  processor.configure({ cspId: undefined, crls: [] });
  return report;
}

function verify(
  { report, certTable }: ExtendedReport,
  held: readonly Uint8Array[] = [],
  at = testTime,
): Promise<SnpClaims> {
  const evidence = parseSnpCollection(snpCollection(report, certTable));
  const endorsements = { certificates: [], crls: held };
  return snpScheme.verify(evidence, endorsements, [authority.anchor], at);
}

const current = (overrides: Partial<CrlContent> = {}, ...revoked: ('ask' | 'asvk')[]) =>
  authority.issueCrl(testTime - hour, revoked, 30 * day, overrides);
/** Of last month. */
const old = (...revoked: ('ask' | 'asvk')[]) =>
  authority.issueCrl(testTime - 40 * day, revoked, 30 * day);

describe('revocation of what AMD signs endorsement keys with (protocol.md s.2.2)', () => {
  type Row = [why: string, ErrorCode | 'accepted', 'VCEK' | 'VLEK', () => Uint8Array[]];
  const rows: Row[] = [
    ['no list', 'accepted', 'VCEK', () => []],
    ['a list that revokes nothing', 'accepted', 'VCEK', () => [current()]],
    ['a revoked ASK', 'CERT_REVOKED', 'VCEK', () => [current({}, 'ask')]],
    ['a revoked ASVK', 'CERT_REVOKED', 'VLEK', () => [current({}, 'asvk')]],
    ['a revoked ASVK and a VCEK', 'accepted', 'VCEK', () => [current({}, 'asvk')]],
    ['a revoked ASK and a VLEK', 'accepted', 'VLEK', () => [current({}, 'ask')]],
    ['a stale list', 'COLLATERAL_STALE', 'VCEK', () => [old()]],
    ['a stale list and a current one', 'accepted', 'VCEK', () => [old(), current()]],
    ['what a stale list revoked stays so', 'CERT_REVOKED', 'VCEK', () => [old('ask')]],
    ['even beside a current one', 'CERT_REVOKED', 'VCEK', () => [current(), old('ask')]],
    ['what only the newer list revokes', 'CERT_REVOKED', 'VCEK', () => [old(), current({}, 'ask')]],
    ['a list of tomorrow', 'COLLATERAL_STALE', 'VCEK', () => [authority.issueCrl(testTime + hour)]],
    ['the list of another vendor', 'accepted', 'VCEK', () => [other.issueCrl(testTime, ['ask'])]],
    [
      'a serial that begins as the revoked one',
      'accepted',
      'VCEK',
      () => [current({ revokedSerials: [Uint8Array.of(0x7f, 0, 1, 0)] })],
    ],
    [
      'a revoked ASK among two thousand',
      'CERT_REVOKED',
      'VCEK',
      () => [current({ revokedSerials: [...manySerials(), Uint8Array.of(0x7f, 0, 1)] })],
    ],
  ];
  it.each(rows)('held by the verifier: %s: %s', async (_, code, kind, lists) => {
    expect(await refusalOf(verify(await made(kind), lists()))).toBe(code);
  });
  it.each(rows)('come with the evidence: %s: %s', async (_, code, kind, lists) => {
    expect(await refusalOf(verify(await made(kind, lists())))).toBe(code);
  });

  it('a list from one source does not hide what another revokes', async () => {
    expect(await refusalOf(verify(await made('VCEK', [current()]), [current({}, 'ask')]))).toBe(
      'CERT_REVOKED',
    );
    expect(await refusalOf(verify(await made('VCEK', [current({}, 'ask')]), [current()]))).toBe(
      'CERT_REVOKED',
    );
  });

  it("what the verifier holds for other vendors is in nobody's way", async () => {
    const lists = Array.from({ length: 40 }, (_, i) => other.issueCrl(testTime - i * hour));
    expect(await refusalOf(verify(await made('VCEK'), [...lists, current()]))).toBe('accepted');
  });

  it('dates are judged each time, of lists seen before too', async () => {
    const list = current();
    expect(await refusalOf(verify(await made('VCEK'), [list]))).toBe('accepted');
    expect(await refusalOf(verify(await made('VCEK'), [list], testTime + 31 * day))).toBe(
      'COLLATERAL_STALE',
    );
  });

  it('a VLEK is revoked by a list of the ASVK, where that may sign lists', async () => {
    const mayBoth = extension('2.5.29.15', der.bitString(Uint8Array.of(0x06), 1), true);
    const asvk = issueCertificate(authority.ark, {
      serial: Uint8Array.of(9),
      subject: authority.asvk.name,
      spki: rsaSpki(authority.asvk.key),
      notBefore: testTime - day,
      notAfter: testTime + day,
      extensions: [authorityExtensions('ASK')[0]!, mayBoth],
    });
    const content = { number: 1, thisUpdate: testTime - hour, nextUpdate: testTime + hour };
    const list = (...revokedSerials: Uint8Array[]) =>
      issueCrl(authority.asvk, { ...content, revokedSerials });
    const { report, certTable } = await made('VLEK');
    const evidence = parseSnpCollection(snpCollection(report, certTable));
    const vlek = evidence.endorsements.certificates[0]!;
    const table = encodeCertTable([
      { kind: 'VLEK', data: vlek },
      { kind: 'ASK', data: asvk },
      { kind: 'ARK', data: authority.arkCertificate },
    ]);
    const outcome = (...lists: Uint8Array[]) =>
      refusalOf(verify({ report, certTable: table }, lists));
    expect(await outcome(list())).toBe('accepted');
    expect(await outcome(list(Uint8Array.of(0)))).toBe('CERT_REVOKED');
    // The ASVK as AMD issues it may sign certificates only.
    expect(await refusalOf(verify({ report, certTable }, [list()]))).toBe('CHAIN_INVALID');
  });
});

function manySerials(): Uint8Array[] {
  return Array.from({ length: 2000 }, (_, i) => Uint8Array.of(0x55, i >> 8, i & 0xff));
}

describe('lists that are not what they say', () => {
  const [freshestChoice, delta, distributionPoint] = ['2.5.29.46', '2.5.29.27', '2.5.29.28'];
  const outcome = async (list: Uint8Array) => refusalOf(verify(await made('VCEK'), [list]));

  it('AMD writes the default trailer of RSASSA-PSS out, which DER forbids', async () => {
    expect(await outcome(current({ algorithm: pssSha384WithTrailer }))).toBe('accepted');
    expect(await outcome(current({ algorithm: pssSha384WithTrailer }, 'ask'))).toBe('CERT_REVOKED');
  });

  it.each<[string, ErrorCode, () => Uint8Array]>([
    [
      'signed by another key under the name of the ARK',
      'CHAIN_INVALID',
      () => issueCrl({ key: other.ark.key, name: authority.ark.name }, content()),
    ],
    [
      'signed by the ASK under the name of the ARK',
      'CHAIN_INVALID',
      () => issueCrl({ key: authority.ask.key, name: authority.ark.name }, content()),
    ],
    ['signed by the ASK, which may not', 'CHAIN_INVALID', () => issueCrl(authority.ask, content())],
    ['signed by PKCS #1 v1.5', 'CHAIN_INVALID', withPkcs1],
    [
      'a delta list',
      'UNKNOWN_CRITICAL',
      () => current({ extensions: [extension(delta!, der.integer(1), true)] }),
    ],
    [
      'a list of one distribution point',
      'UNKNOWN_CRITICAL',
      () => current({ extensions: [extension(distributionPoint!, der.sequence(), true)] }),
    ],
    ['no list', 'MALFORMED', () => Uint8Array.of(0x30, 0)],
    ['cut off', 'MALFORMED', () => current().subarray(0, 300)],
  ])('%s: %s', async (_, code, list) => {
    expect(await outcome(list())).toBe(code);
  });

  it('an extension that is not critical changes nothing', async () => {
    const extensions = [extension(freshestChoice!, der.sequence())];
    expect(await outcome(current({ extensions }))).toBe('accepted');
  });

  it('a changed byte makes it no list of this vendor at most', async () => {
    const list = current({}, 'asvk');
    const report = await made('VCEK');
    for (let at = 0; at < list.length; at += 7) {
      const changed = flipped(list, at);
      const code = await refusalOf(verify(report, [changed]));
      if (code === 'accepted') expect((await verify(report, [changed])).revocation).toBeUndefined();
    }
  });

  const content = (): CrlContent => ({
    number: 1,
    thisUpdate: testTime - hour,
    nextUpdate: testTime + hour,
    revokedSerials: [],
  });

  /** A list with a signature of another kind, as it says. */
  function withPkcs1(): Uint8Array {
    const algorithm = der.sequence(der.oid('1.2.840.113549.1.1.12'), der.nullValue());
    const { tbs } = parseCertificateList(issueCrl(authority.ark, { ...content(), algorithm }));
    const signature = new Uint8Array(sign('sha384', tbs, authority.ark.key));
    return der.sequence(tbs, algorithm, der.bitString(signature));
  }
});

describe('what verified evidence says of revocation', () => {
  it('nothing without a list, or with the list of another vendor', async () => {
    expect((await verify(await made('VCEK'))).revocation).toBeUndefined();
    const foreign = other.issueCrl(testTime);
    expect((await verify(await made('VCEK'), [foreign])).revocation).toBeUndefined();
  });

  it('the dates of the latest list that is current', async () => {
    const lists = [old(), authority.issueCrl(testTime - day), current()];
    const { revocation } = await verify(await made('VCEK', lists));
    expect(revocation).toEqual({
      thisUpdate: testTime - hour,
      nextUpdate: testTime - hour + 30 * day,
      checkedAt: testTime,
    });
  });
});
