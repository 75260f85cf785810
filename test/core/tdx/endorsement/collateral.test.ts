import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyTdxQuote } from '#core/tdx/verify.js';
import { caExtensions, commonName, leafExtensions } from '../../../fakes/certificates.js';
import { FakeIntel, names, now, qeIdentity, sgxExtensions, tcbInfo } from '../../../fakes/intel.js';
import { refusalOf } from '../../../refusal.js';
import { endorsements, good, intel, other, verify, withQeIdentity, withTcbInfo } from '../made.js';

describe('steps 2 to 4: root, revocation lists, signer, TCB Info, QE Identity', () => {
  const rows: [string, () => Promise<unknown>, string][] = [
    [
      'a root that is not pinned',
      async () => verifyTdxQuote(parseTdxQuote(good), endorsements, intelRoots, now),
      'UNTRUSTED_ROOT',
    ],
    [
      'an anchor of another format',
      async () =>
        verifyTdxQuote(
          parseTdxQuote(good),
          endorsements,
          [{ ...intel.anchor, format: 'snp' }],
          now,
        ),
      'UNTRUSTED_ROOT',
    ],
    ['no collateral', async () => verify(good, { certificates: [], crls: [] }), 'COLLATERAL_STALE'],
    [
      'no revocation lists',
      async () => verify(good, { ...endorsements, crls: [] }),
      'COLLATERAL_STALE',
    ],
    [
      'no list of the CA',
      async () => verify(good, { ...endorsements, crls: endorsements.crls.slice(0, 1) }),
      'COLLATERAL_STALE',
    ],
    [
      'no documents',
      async () => verify(good, { ...endorsements, documents: [] }),
      'COLLATERAL_STALE',
    ],
    [
      'a root list out of date',
      async () =>
        verify(
          good,
          intel.endorsements({ rootCrl: await intel.crl('root', { nextUpdate: now - 1000 }) }),
        ),
      'COLLATERAL_STALE',
    ],
    [
      'a PCK list out of date',
      async () =>
        verify(
          good,
          intel.endorsements({ pckCrl: await intel.crl('ca', { nextUpdate: now - 1000 }) }),
        ),
      'COLLATERAL_STALE',
    ],
    [
      'a root list by another key',
      async () => {
        const rogue = await FakeIntel.create();
        return verify(good, intel.endorsements({ rootCrl: await rogue.crl('root') }));
      },
      'CHAIN_INVALID',
    ],
    [
      'the signer on the root list',
      async () =>
        verify(
          good,
          intel.endorsements({ rootCrl: await intel.crl('root', { revoked: [Uint8Array.of(3)] }) }),
        ),
      'CERT_REVOKED',
    ],
    [
      'a signer by another key than the root',
      async () =>
        verify(
          good,
          intel.endorsements({ signer: await intel.certificate('signer', { signedBy: other }) }),
        ),
      'CHAIN_INVALID',
    ],
    [
      'a CA of the same root as signer of collateral',
      async () =>
        verify(
          good,
          intel.endorsements({ signer: await intel.certificate('signer', { subject: names.ca }) }),
        ),
      'COLLATERAL_STALE',
    ],
    [
      'a signer out of date',
      async () =>
        verify(
          good,
          intel.endorsements({
            signer: await intel.certificate('signer', { notAfter: now - 1000 }),
          }),
        ),
      'COLLATERAL_STALE',
    ],
    [
      'TCB Info signed by another key',
      async () =>
        verify(
          good,
          intel.endorsements({ tcbInfo: await intel.signed('tcbInfo', tcbInfo(), other) }),
        ),
      'COLLATERAL_SIGNATURE',
    ],
    [
      'QE Identity signed by another key',
      async () =>
        verify(
          good,
          intel.endorsements({
            qeIdentity: await intel.signed('enclaveIdentity', qeIdentity(), other),
          }),
        ),
      'COLLATERAL_SIGNATURE',
    ],
    ['TCB Info of SGX', () => verify(good, withTcbInfo({ id: 'SGX' })), 'COLLATERAL_TYPE'],
    ['TCB Info of version 2', () => verify(good, withTcbInfo({ version: 2 })), 'COLLATERAL_TYPE'],
    ['TCB Info of TCB type 1', () => verify(good, withTcbInfo({ tcbType: 1 })), 'COLLATERAL_TYPE'],
    ['QE Identity of SGX', () => verify(good, withQeIdentity({ id: 'QE' })), 'COLLATERAL_TYPE'],
    [
      'QE Identity of version 1',
      () => verify(good, withQeIdentity({ version: 1 })),
      'COLLATERAL_TYPE',
    ],
    [
      'TCB Info after its next update',
      () => verify(good, withTcbInfo({ nextUpdate: '2026-05-31T23:59:59Z' })),
      'COLLATERAL_STALE',
    ],
    [
      'TCB Info before its issue',
      () => verify(good, withTcbInfo({ issueDate: '2026-06-01T00:00:01Z' })),
      'COLLATERAL_STALE',
    ],
    [
      'QE Identity after its next update',
      () => verify(good, withQeIdentity({ nextUpdate: '2026-05-31T23:59:59Z' })),
      'COLLATERAL_STALE',
    ],
  ];
  it.each(rows)('%s is refused', async (_, work, code) => {
    expect(await refusalOf(work())).toBe(code);
  });

  it('the text of a statement may not be written again, whatever it says', async () => {
    const [info, identity] = endorsements.documents!;
    const spaced = utf8(
      new TextDecoder().decode(info!.value).replace('"version":3', '"version": 3'),
    );
    const documents = [{ ...info!, value: spaced }, identity!];
    expect(await refusalOf(verify(good, { ...endorsements, documents }))).toBe(
      'COLLATERAL_SIGNATURE',
    );
  });

  it('of several TCB Infos the newest of this FMSPC is taken', async () => {
    const infos = await Promise.all(
      [
        { fmspc: 'ffffffffffff', issueDate: '2026-05-01T00:00:00Z' },
        { nextUpdate: '2026-02-01T00:00:00Z' },
        { issueDate: '2026-03-01T00:00:00Z', tcbEvaluationDataNumber: 18 },
      ].map((change) => intel.signed('tcbInfo', tcbInfo(change))),
    );
    const [info, identity] = endorsements.documents!;
    const documents = [...infos.map((value) => ({ ...info!, value })), identity!];
    const claims = await verify(good, { ...endorsements, documents });
    expect(claims.tcb.evaluationNumber).toBe(17);
    expect(claims.tcb.status).toBe('UpToDate');
  });
});

describe('step 5: the PCK chain', () => {
  const withChain = async (
    pck: Parameters<FakeIntel['certificate']>[1] = {},
    ca: Parameters<FakeIntel['certificate']>[1] = {},
  ) => {
    const extensions = [...leafExtensions(), sgxExtensions()];
    return verify({
      chain: [
        await intel.certificate('pck', { extensions, ...pck }),
        await intel.certificate('ca', ca),
        await intel.certificate('root'),
      ],
    });
  };
  const processor = commonName('Intel SGX PCK Processor CA');
  const rows: [string, () => Promise<unknown>, string][] = [
    ['a PCK certificate by another key', () => withChain({ signedBy: other }), 'CHAIN_INVALID'],
    ['a CA by another key', () => withChain({}, { signedBy: other }), 'CHAIN_INVALID'],
    ['a PCK certificate out of date', () => withChain({ notAfter: now - 1000 }), 'CERT_EXPIRED'],
    [
      'a PCK certificate before its time',
      () => withChain({ notBefore: now + 1000 }),
      'CERT_EXPIRED',
    ],
    ['a CA out of date', () => withChain({}, { notAfter: now - 1000 }), 'CERT_EXPIRED'],
    ['a CA that is none', () => withChain({}, { extensions: leafExtensions() }), 'CHAIN_INVALID'],
    [
      'a PCK certificate of another name',
      () => withChain({ subject: commonName('SGX PCK') }),
      'CHAIN_INVALID',
    ],
    [
      'a list of another CA',
      () => withChain({ issuer: processor }, { subject: processor }),
      'COLLATERAL_STALE',
    ],
    ['the certificates of nobody', () => verify({ chain: [] }), 'CHAIN_INVALID'],
    [
      'only the PCK certificate',
      async () => verify({ chain: [(await intel.chain())[0]!] }),
      'CHAIN_INVALID',
    ],
    [
      'two PCK certificates',
      async () => {
        const chain = await intel.chain();
        return verify({ chain: [chain[0]!, ...chain] });
      },
      'CHAIN_INVALID',
    ],
    [
      'the PCK on its list',
      async () =>
        verify(
          good,
          intel.endorsements({ pckCrl: await intel.crl('ca', { revoked: [Uint8Array.of(4)] }) }),
        ),
      'CERT_REVOKED',
    ],
    [
      'the CA on the root list',
      async () =>
        verify(
          good,
          intel.endorsements({ rootCrl: await intel.crl('root', { revoked: [Uint8Array.of(2)] }) }),
        ),
      'CERT_REVOKED',
    ],
    [
      'a PCK certificate without SGX extensions',
      () => withChain({ extensions: leafExtensions() }),
      'CHAIN_INVALID',
    ],
    ...[1, 2, 3, 4].map((arc): [string, () => Promise<unknown>, string] => [
      `SGX extensions without member ${arc}`,
      async () => verify({ chain: await intel.chain({ without: [arc] }) }),
      'CERT_EXTENSION_MISSING',
    ]),
    [
      'PCK as its own issuer',
      () => withChain({ extensions: [...caExtensions(), sgxExtensions()], issuer: names.pck }),
      'CHAIN_INVALID',
    ],
  ];
  it.each(rows)('%s is refused', async (_, work, code) => {
    expect(await refusalOf(work())).toBe(code);
  });

  it('a platform with one package has no instance id', async () => {
    const claims = await verify({ chain: await intel.chain({ without: [6] }) });
    expect(claims.platform.platformInstanceId).toBeUndefined();
  });
});
