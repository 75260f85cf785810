import { beforeAll, describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import { concat } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import { endorsementOid, readEndorsementKeyInfo } from '#core/snp/endorsement/extensions.js';
import { parseReport } from '#core/snp/parse.js';
import type { SnpProduct, SnpTcb } from '#core/snp/product.js';
import { verifyReport } from '#core/snp/verify.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import type { CertificateOverrides, SimulatedAuthority } from '#sim/authority.js';
import {
  endorsementExtensions,
  extension,
  p384Spki,
  rsaSpki,
  simulatedName,
} from '#sim/certificates.js';
import type { EndorsementKey } from '#sim/chip.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import {
  endorsementsOf,
  launchTestGuest,
  simulatedProcessor,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

const reportData = new Uint8Array(64);

interface Machine {
  readonly processor: SecurityProcessor;
  readonly authority: SimulatedAuthority;
  readonly key: EndorsementKey;
  readonly report: Uint8Array;
}
const machines = new Map<SnpProduct, Machine>();
beforeAll(async () => {
  for (const product of ['Genoa', 'Turin'] as const) {
    const processor = await simulatedProcessor(product);
    const { report } = await (await launchTestGuest(processor)).report({ reportData, vmpl: 0 });
    const key = await processor.chip.vcek(processor.settings.tcb);
    machines.set(product, { processor, authority: processor.chip.authority, key, report });
  }
});
const machine = (product: SnpProduct = 'Genoa') => machines.get(product)!;

function verify(
  m: Machine,
  certificates: readonly Uint8Array[],
  options: { readonly crls?: readonly Uint8Array[]; readonly at?: number } = {},
): Promise<ErrorCode | 'accepted'> {
  const { crls = [], at = testTime } = options;
  const anchors = [m.authority.anchor];
  return refusalOf(async () =>
    verifyReport(parseReport(m.report), { certificates, crls }, anchors, at),
  );
}

/** The VCEK of the machine with another content. */
function vcek(m: Machine, overrides: CertificateOverrides = {}): Uint8Array {
  const { hwId } = m.processor.chip;
  const point = m.key.key.publicPoint;
  const { tcb } = m.processor.settings;
  return m.authority.issueVcek({ point, hwId, tcb }, testTime, overrides);
}

function withVcek(m: Machine, leaf: Uint8Array): readonly Uint8Array[] {
  return [leaf, m.authority.askCertificate, m.authority.arkCertificate];
}

/** The extensions of the true VCEK with some replaced (or, by undefined, left out). */
function changed(
  m: Machine,
  changes: Readonly<Partial<Record<keyof typeof endorsementOid, Uint8Array | undefined>>>,
): CertificateOverrides {
  const { hwId } = m.processor.chip;
  const { tcb } = m.processor.settings;
  const replaced = new Set(Object.keys(changes).map((name) => prefix(name)));
  const kept = endorsementExtensions({ product: m.processor.product, tcb, hwId }).filter(
    (element) => ![...replaced].some((oid) => startsWith(element, oid)),
  );
  const added = Object.entries(changes).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [extension(endorsementOid[name as keyof typeof endorsementOid], value)],
  );
  return { extensions: [...kept, ...added] };
}

/** Hex of the OID element of an extension. */
const prefix = (name: string) =>
  Buffer.from(der.oid(endorsementOid[name as keyof typeof endorsementOid])).toString('hex');
const startsWith = (element: Uint8Array, oid: string) =>
  Buffer.from(element).toString('hex').slice(4).startsWith(oid);

const int = (value: number) => der.integer(value);

describe('hostile endorsement key certificates, signed by the real issuer (protocol.md s.2.2)', () => {
  type Row = [
    why: string,
    code: ErrorCode | 'accepted',
    changes: (m: Machine) => Parameters<typeof changed>[1],
    product?: SnpProduct,
  ];
  const hwid = (m: Machine) => m.processor.chip.hwId;
  const rows: Row[] = [
    ['as AMD issues it', 'accepted', () => ({})],
    ['as AMD issues it', 'accepted', () => ({}), 'Turin'],
    [
      'hwID in an OCTET STRING, as early ones had it',
      'accepted',
      (m) => ({ hwId: der.octetString(hwid(m)) }),
    ],
    ['hwID in an OCTET STRING', 'accepted', (m) => ({ hwId: der.octetString(hwid(m)) }), 'Turin'],
    ['the hwID of another chip', 'CHIP_ID_MISMATCH', () => ({ hwId: new Uint8Array(64).fill(1) })],
    [
      'another hwID in an OCTET STRING',
      'CHIP_ID_MISMATCH',
      () => ({ hwId: der.octetString(new Uint8Array(64)) }),
    ],
    [
      'only the first 8 bytes of the hwID',
      'CHIP_ID_MISMATCH',
      (m) => ({ hwId: hwid(m).slice(0, 8) }),
    ],
    [
      'a hwID of 64 bytes in a Turin',
      'CHIP_ID_MISMATCH',
      (m) => ({ hwId: concat(hwid(m), new Uint8Array(56)) }),
      'Turin',
    ],
    ['a hwID of 63 bytes', 'MALFORMED', (m) => ({ hwId: hwid(m).slice(1) })],
    ['an empty hwID', 'MALFORMED', () => ({ hwId: new Uint8Array() })],
    ['no hwID', 'CERT_EXTENSION_MISSING', () => ({ hwId: undefined })],
    ['both hwID and cspID', 'MALFORMED', () => ({ cspId: der.ia5String('CN=x') })],
    [
      'cspID in place of hwID: a VLEK',
      'WRONG_SIGNING_KEY',
      () => ({ hwId: undefined, cspId: der.ia5String('CN=x') }),
    ],
    ['no structVersion', 'CERT_EXTENSION_MISSING', () => ({ structVersion: undefined })],
    ['structVersion 1', 'PRODUCT_MISMATCH', () => ({ structVersion: int(1) })],
    ['structVersion 0 in a Turin', 'PRODUCT_MISMATCH', () => ({ structVersion: int(0) }), 'Turin'],
    ['no productName', 'CERT_EXTENSION_MISSING', () => ({ productName: undefined })],
    ['another productName', 'PRODUCT_MISMATCH', () => ({ productName: der.ia5String('Milan-B0') })],
    [
      'a productName that begins like the product',
      'PRODUCT_MISMATCH',
      () => ({ productName: der.ia5String('Genoa2') }),
    ],
    [
      'a productName with a stepping',
      'accepted',
      () => ({ productName: der.ia5String('Genoa-B1') }),
    ],
    ['a productName as UTF8String', 'MALFORMED', () => ({ productName: der.utf8String('Genoa') })],
    ['no blSPL', 'CERT_EXTENSION_MISSING', () => ({ blSpl: undefined })],
    ['no teeSPL', 'CERT_EXTENSION_MISSING', () => ({ teeSpl: undefined })],
    ['no snpSPL', 'CERT_EXTENSION_MISSING', () => ({ snpSpl: undefined })],
    ['no ucodeSPL', 'CERT_EXTENSION_MISSING', () => ({ ucodeSpl: undefined })],
    ['no fmcSPL in a Turin', 'CERT_EXTENSION_MISSING', () => ({ fmcSpl: undefined }), 'Turin'],
    ['fmcSPL in a Genoa', 'PRODUCT_MISMATCH', () => ({ fmcSpl: int(0) })],
    ['another blSPL', 'TCB_MISMATCH', () => ({ blSpl: int(9) })],
    ['another teeSPL', 'TCB_MISMATCH', () => ({ teeSpl: int(9) })],
    ['another snpSPL', 'TCB_MISMATCH', () => ({ snpSpl: int(9) })],
    ['another ucodeSPL', 'TCB_MISMATCH', () => ({ ucodeSpl: int(9) })],
    ['another fmcSPL', 'TCB_MISMATCH', () => ({ fmcSpl: int(9) }), 'Turin'],
    ['a reserved SPL that is not zero', 'MALFORMED', () => ({ spl5: int(1) })],
    ['an SPL above 255', 'SIZE', () => ({ ucodeSpl: int(256) })],
    ['an SPL that is padded', 'NOT_CANONICAL', () => ({ ucodeSpl: Uint8Array.of(2, 2, 0, 84) })],
    ['an SPL that is negative', 'MALFORMED', () => ({ ucodeSpl: Uint8Array.of(2, 1, 0xdb) })],
    ['an SPL with bytes after it', 'MALFORMED', () => ({ ucodeSpl: Uint8Array.of(2, 1, 84, 0) })],
    ['an SPL as OCTET STRING', 'MALFORMED', () => ({ ucodeSpl: Uint8Array.of(4, 1, 84) })],
    ['an empty SPL', 'MALFORMED', () => ({ ucodeSpl: new Uint8Array() })],
  ];
  it.each(rows)('%s: %s', async (_, code, changes, product) => {
    const m = machine(product);
    expect(await verify(m, withVcek(m, vcek(m, changed(m, changes(m)))))).toBe(code);
  });

  it('without any extension it binds nothing', async () => {
    const m = machine();
    const bare = vcek(m, { extensions: [] });
    expect(await verify(m, withVcek(m, bare))).toBe('CERT_EXTENSION_MISSING');
  });

  it('a raw hwID may look like DER', () => {
    const m = machine();
    const lookalike = concat(Uint8Array.of(0x04, 0x3e), new Uint8Array(62).fill(9));
    const { hwId } = readEndorsementKeyInfo(
      parseCertificate(vcek(m, changed(m, { hwId: lookalike }))),
    );
    expect(hwId).toEqual(lookalike);
  });

  it('SPLs from 128 on take two bytes', () => {
    const m = machine();
    const info = readEndorsementKeyInfo(
      parseCertificate(vcek(m, changed(m, { ucodeSpl: int(219) }))),
    );
    expect(info.tcb.microcode).toBe(219);
  });

  it.each<[why: string, code: ErrorCode, overrides: (m: Machine) => CertificateOverrides]>([
    ['an expired certificate', 'CERT_EXPIRED', () => ({ notAfter: testTime - 1000 })],
    ['a certificate of the future', 'CERT_EXPIRED', () => ({ notBefore: testTime + 1000 })],
    ['an RSA key', 'WRONG_KEY_TYPE', (m) => ({ spki: rsaSpki(m.authority.ask.key) })],
    ['the key of another chip', 'EVIDENCE_SIGNATURE_INVALID', () => ({ spki: otherSpki })],
    ['a P-256 key', 'WRONG_KEY_TYPE', () => ({ spki: p256Spki })],
    [
      'a critical extension',
      'UNKNOWN_CRITICAL',
      (m) => ({
        extensions: [extension('1.2.3', new Uint8Array(), true), ...changed(m, {}).extensions!],
      }),
    ],
  ])('%s: %s', async (_, code, overrides) => {
    const m = machine();
    expect(await verify(m, withVcek(m, vcek(m, overrides(m))))).toBe(code);
  });
});

let otherSpki: Uint8Array;
let p256Spki: Uint8Array;
beforeAll(async () => {
  otherSpki = p384Spki((await crypto.generateEcKey('P-384')).publicPoint);
  const { ecSpki } = await import('#core/crypto.js');
  p256Spki = ecSpki('P-256', (await crypto.generateEcKey('P-256')).publicPoint);
});

describe('the chain and its roles', () => {
  const parts = (m: Machine) => ({
    leaf: vcek(m),
    ask: m.authority.askCertificate,
    asvk: m.authority.asvkCertificate,
    ark: m.authority.arkCertificate,
  });

  it('certificates are found in any order, with others among them', async () => {
    const m = machine();
    const { leaf, ask, asvk, ark } = parts(m);
    expect(await verify(m, [ark, ask, leaf])).toBe('accepted');
    expect(await verify(m, [asvk, ask, ark, leaf, leaf])).toBe('accepted');
    const other = machine('Turin').authority;
    expect(await verify(m, [other.arkCertificate, other.askCertificate, leaf, ask, ark])).toBe(
      'accepted',
    );
  });

  it.each<[why: string, code: ErrorCode, pick: (p: ReturnType<typeof parts>) => Uint8Array[]]>([
    ['nothing', 'CHAIN_INVALID', () => []],
    ['only the VCEK', 'CHAIN_INVALID', (p) => [p.leaf]],
    ['no ASK', 'CHAIN_INVALID', (p) => [p.leaf, p.ark]],
    ['no ARK', 'CHAIN_INVALID', (p) => [p.leaf, p.ask]],
    ['only the ARK', 'CHAIN_INVALID', (p) => [p.ark]],
    ['the ASVK in place of the ASK', 'CHAIN_INVALID', (p) => [p.leaf, p.asvk, p.ark]],
    ['the ASK as endorsement key', 'WRONG_KEY_TYPE', (p) => [p.ask, p.ark]],
    ['129 certificates', 'SIZE', (p) => Array.from({ length: 129 }, () => p.ark)],
  ])('%s: %s', async (_, code, pick) => {
    const m = machine();
    expect(await verify(m, pick(parts(m)))).toBe(code);
  });

  it('says which certificate is missing', async () => {
    const m = machine();
    const missing = async (certificates: readonly Uint8Array[]) => {
      const anchors = [m.authority.anchor];
      const run = verifyReport(
        parseReport(m.report),
        { certificates, crls: [] },
        anchors,
        testTime,
      );
      return run.then(
        () => '',
        (error: Error) => error.message,
      );
    };
    const { leaf, ask, ark } = parts(m);
    expect(await missing([leaf, ask])).toContain('ARK-Genoa');
    expect(await missing([leaf, ark])).toContain('SEV-Genoa');
    expect(await missing([ask, ark])).toContain('P-384');
    expect(await missing([])).toContain('VCEK');
  });

  it('a VCEK of another product under its own chain is refused', async () => {
    const m = machine();
    const turin = machine('Turin');
    const foreign = withVcek(turin, vcek(turin));
    const anchors = [turin.authority.anchor];
    const run = verifyReport(
      parseReport(m.report),
      { certificates: foreign, crls: [] },
      anchors,
      testTime,
    );
    expect(await refusalOf(run)).toBe('EVIDENCE_SIGNATURE_INVALID');
  });

  it('a root whose name says another product is refused', async () => {
    const m = machine();
    // The key of the Genoa root under the name of Milan's, down to the VCEK.
    const ark = { key: m.authority.ark.key, name: simulatedName('ARK-Milan') };
    const issued = await import('#sim/certificates.js');
    const content = (subject: Uint8Array, spki: Uint8Array, role: 'ARK' | 'ASK') => ({
      serial: Uint8Array.of(1),
      subject,
      spki,
      notBefore: testTime - 1000,
      notAfter: testTime + 1000,
      extensions: issued.authorityExtensions(role),
    });
    const root = issued.issueCertificate(ark, content(ark.name, rsaSpki(ark.key), 'ARK'));
    const askSpki = rsaSpki(m.authority.ask.key);
    const ask = issued.issueCertificate(ark, content(m.authority.ask.name, askSpki, 'ASK'));
    expect(await verify(m, [vcek(m), ask, root])).toBe('PRODUCT_MISMATCH');
  });

  it.each<[why: string, code: ErrorCode | 'accepted', crl: (a: SimulatedAuthority) => Uint8Array]>([
    ['an empty list', 'accepted', (a) => a.issueCrl(testTime - 1000)],
    ['a list with the ASK', 'CERT_REVOKED', (a) => a.issueCrl(testTime - 1000, ['ask'])],
    ['a list with the ASVK only', 'accepted', (a) => a.issueCrl(testTime - 1000, ['asvk'])],
    [
      'a list that is out of date',
      'COLLATERAL_STALE',
      (a) => a.issueCrl(testTime - 9000, [], 1000),
    ],
    ['a list of tomorrow', 'COLLATERAL_STALE', (a) => a.issueCrl(testTime + 1000)],
    [
      'a list of another vendor',
      'accepted',
      () => machine('Turin').authority.issueCrl(testTime - 1000, ['ask']),
    ],
    ['a list that is none', 'MALFORMED', () => Uint8Array.of(0x30, 0)],
  ])('%s: %s', async (_, code, crl) => {
    const m = machine();
    const crls = [crl(m.authority)];
    expect(await verify(m, withVcek(m, vcek(m)), { crls })).toBe(code);
  });

  it('a chip at another TCB signs with another key', async () => {
    const m = machine();
    const lower: SnpTcb = { ...m.processor.settings.tcb, microcode: 1 };
    const { certTable } = await m.processor.chip.vcek(lower);
    const { certificates } = endorsementsOf(certTable);
    expect(await verify(m, certificates)).toBe('EVIDENCE_SIGNATURE_INVALID');
  });
});
