import { describe, expect, it } from 'vitest';
import { fromHex, utf8 } from '#core/bytes.js';
import { pckChainOf } from '#core/tdx/endorsement/pck-chain.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyQuoteSignatures, verifyTdxQuote } from '#core/tdx/verify.js';
import {
  components,
  fmspc,
  isvLevel,
  now,
  ppid,
  type QuoteContent,
  svn,
  tcbLevel,
} from '../../fakes/intel.js';
import { refusalOf } from '../../refusal.js';
import { endorsements, good, intel, other, verify, withQeIdentity, withTcbInfo } from './made.js';

describe('a genuine quote (protocol.md s.3.2)', () => {
  it.each([4, 5] as const)('of version %i verifies', async (version) => {
    const claims = await verify({ version, td: { reportData: utf8('binding') } });
    expect(claims.format).toBe('tdx');
    expect(claims.tcb.status).toBe('UpToDate');
    expect(claims.tcb.module.id).toBe('TDX_01');
    expect(claims.chipId).toEqual(ppid);
    expect(claims.platform.fmspc).toEqual(fmspc);
    expect(claims.reportData.subarray(0, 7)).toEqual(utf8('binding'));
    expect(claims.configBinding).toMatchObject({ field: 'MRCONFIGID', hash: 'sha384' });
  });

  it("under a root that is not Intel's is simulated", async () => {
    expect((await verify()).simulated).toBe(true);
  });

  it('certificates may come in any order, and without the root where collateral has it', async () => {
    const [pck, ca, root] = await intel.chain();
    await verify({ chain: [pck!, root!, ca!] });
    await verify({ chain: [pck!, ca!] });
  });

  it('may only name its platform where its chain comes as an endorsement', async () => {
    const bare = { certificationType: 3, certificationData: new Uint8Array(404) };
    expect(await refusalOf(verify(bare))).toBe('CHAIN_INVALID');
    const chain = await intel.chain();
    const certificates = [...endorsements.certificates, ...chain];
    await verify(bare, { ...endorsements, certificates });
  });
});

describe('steps 6 to 9: from the PCK to the quote', () => {
  const rows: [string, QuoteContent | (() => QuoteContent), string][] = [
    ['a QE report that the PCK did not sign', () => ({ qeSigner: other }), 'QE_REPORT_INVALID'],
    [
      'a QE report that binds another key',
      { qe: { bound: new Uint8Array(32) } },
      'QE_REPORT_INVALID',
    ],
    [
      'a QE report with more behind the binding',
      { qe: { rest: new Uint8Array(32).fill(1) } },
      'QE_REPORT_INVALID',
    ],
    ['a QE of another signer', { qe: { mrSigner: new Uint8Array(32) } }, 'QE_IDENTITY_MISMATCH'],
    ['a QE of another product', { qe: { isvProdId: 1 } }, 'QE_IDENTITY_MISMATCH'],
    [
      'a QE with another MISCSELECT',
      { qe: { miscSelect: Uint8Array.of(1, 0, 0, 0) } },
      'QE_IDENTITY_MISMATCH',
    ],
    [
      'a QE under debug',
      { qe: { attributes: fromHex('1700000000000000e700000000000000') } },
      'QE_IDENTITY_MISMATCH',
    ],
    [
      'a QE without its provisioning attribute',
      { qe: { attributes: fromHex('0500000000000000e700000000000000') } },
      'QE_IDENTITY_MISMATCH',
    ],
  ];
  it.each(rows)('%s is refused', async (_, content, code) => {
    const made = typeof content === 'function' ? content() : content;
    expect(await refusalOf(verify(made))).toBe(code);
  });

  it('a debug QE is refused even where the mask of the identity leaves the bit out', async () => {
    const loose = withQeIdentity({ attributesMask: 'F9FFFFFFFFFFFFFF0000000000000000' });
    const attributes = fromHex('1700000000000000e700000000000000');
    expect(await refusalOf(verify({ qe: { attributes } }, loose))).toBe('QE_IDENTITY_MISMATCH');
  });

  it("a quote signed under a key of one's own is not vouched for", async () => {
    const quote = await intel.quote({ signer: other });
    // The Quoting Enclave vouched for the platform's key, not for this one.
    const genuine = parseTdxQuote(good);
    const forged = { ...parseTdxQuote(quote), qeReport: genuine.qeReport };
    const made = {
      ...forged,
      qeReportBytes: genuine.qeReportBytes,
      qeReportSignature: genuine.qeReportSignature,
    };
    const work = verifyTdxQuote(made, endorsements, [intel.anchor], now);
    expect(await refusalOf(work)).toBe('QE_REPORT_INVALID');
  });

  it('a change of any signed byte is EVIDENCE_SIGNATURE_INVALID', async () => {
    for (const version of [4, 5] as const) {
      const quote = parseTdxQuote(await intel.quote({ version }));
      const { pck } = pckChainOf(quote);
      for (let at = 0; at < quote.signedBytes.length; at++) {
        const signedBytes = quote.signedBytes.slice();
        signedBytes[at]! ^= 1;
        const work = verifyQuoteSignatures({ ...quote, signedBytes }, pck);
        expect(await refusalOf(work), `byte ${at}`).toBe('EVIDENCE_SIGNATURE_INVALID');
      }
    }
  });

  it('a change of any byte after the signed part, up to the root, is refused', async () => {
    const quote = parseTdxQuote(good);
    const text = new TextDecoder('latin1').decode(good);
    // A root in the quote is not believed anyhow: the pinned one is taken.
    const root = text.lastIndexOf('-----BEGIN');
    for (let at = quote.signedBytes.length; at < root; at += 7) {
      const changed = good.slice();
      changed[at]! ^= 1;
      const work = (async () => verify(changed))();
      expect(await refusalOf(work), `byte ${at}`).not.toBe('accepted');
    }
  });
});

describe('steps 10 to 13: family, module, level, merge', () => {
  const rows: [string, () => Promise<unknown>, string][] = [
    [
      'TCB Info of another FMSPC',
      () => verify(good, withTcbInfo({ fmspc: '000000000000' })),
      'FMSPC_MISMATCH',
    ],
    [
      'TCB Info of another PCE',
      () => verify(good, withTcbInfo({ pceId: '0001' })),
      'FMSPC_MISMATCH',
    ],
    ['no level at all', () => verify(good, withTcbInfo({ tcbLevels: [] })), 'TCB_UNKNOWN'],
    [
      'an SGX component below every level',
      async () =>
        verify({ chain: await intel.chain({ components: components(5, 5, 2, 2, 3, 1, 0, 2) }) }),
      'TCB_UNKNOWN',
    ],
    [
      'a PCE below every level',
      async () => verify({ chain: await intel.chain({ pceSvn: 4 }) }),
      'TCB_UNKNOWN',
    ],
    [
      'a TDX component below every level',
      () => verify({ td: { teeTcbSvn: svn(6, 1, 1) } }),
      'TCB_UNKNOWN',
    ],
    [
      'a module below every level',
      () => verify({ td: { teeTcbSvn: svn(1, 1, 3) } }),
      'TCB_UNKNOWN',
    ],
    ['a QE below every level', () => verify({ qe: { isvSvn: 1 } }), 'TCB_UNKNOWN'],
    [
      'a module version that has no identity',
      () => verify({ td: { teeTcbSvn: svn(6, 9, 3) } }),
      'TDX_MODULE_MISMATCH',
    ],
    [
      'a module version where there are no identities at all',
      () => verify(good, withTcbInfo({ tdxModuleIdentities: undefined })),
      'TDX_MODULE_MISMATCH',
    ],
    [
      'a module of another signer',
      () => verify({ td: { mrSignerSeam: new Uint8Array(48).fill(1) } }),
      'TDX_MODULE_MISMATCH',
    ],
    [
      'a module with attributes',
      () => verify({ td: { seamAttributes: 1n } }),
      'TDX_MODULE_MISMATCH',
    ],
    [
      'a module without version of another signer',
      () => verify({ td: { teeTcbSvn: svn(6, 0, 3), mrSignerSeam: new Uint8Array(48).fill(1) } }),
      'TDX_MODULE_MISMATCH',
    ],
    [
      'a revoked platform',
      () => {
        const sgx = components(5, 5, 2, 2, 3, 1, 0, 3);
        return verify(
          good,
          withTcbInfo({ tcbLevels: [tcbLevel('Revoked', sgx, 13, components())] }),
        );
      },
      'TCB_REVOKED',
    ],
    [
      'a revoked QE',
      () => verify(good, withQeIdentity({ tcbLevels: [isvLevel(0, 'Revoked')] })),
      'TCB_REVOKED',
    ],
  ];
  it.each(rows)('%s is refused', async (_, work, code) => {
    expect(await refusalOf(work())).toBe(code);
  });
});
