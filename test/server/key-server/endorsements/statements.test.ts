import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex } from '#core/bytes.js';
import type { VendorStatement } from '#core/rats/endorsements.js';
import {
  nameOf,
  statementNamed,
  urlOf,
  type VendorUrls,
} from '#server/key-server/endorsements/statements.js';

const urls: VendorUrls = {
  kds: 'https://kdsintf.amd.com',
  pcs: 'https://api.trustedservices.intel.com',
  rootCrl: 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der',
  tcbUpdate: 'standard',
  tcbEvaluationDataNumber: 0,
};
const tcb = { fmc: 1, bootloader: 10, tee: 0, snp: 24, microcode: 219 };
const hwId = fromHex('0123456789abcdef');

const rows: readonly (readonly [VendorStatement, string, string])[] = [
  [
    { kind: 'amd-vcek', product: 'Turin', hwId, tcb },
    'https://kdsintf.amd.com/vcek/v1/Turin/0123456789abcdef?fmcSPL=01&blSPL=10&teeSPL=00&snpSPL=24&ucodeSPL=219',
    'amd/vcek/Turin/0123456789abcdef/fmc1-bl10-tee0-snp24-ucode219.der',
  ],
  [
    { kind: 'amd-vcek', product: 'Milan', hwId: fromHex('ab'.repeat(64)), tcb: { ...tcb, fmc: 0 } },
    `https://kdsintf.amd.com/vcek/v1/Milan/${'ab'.repeat(64)}?blSPL=10&teeSPL=00&snpSPL=24&ucodeSPL=219`,
    `amd/vcek/Milan/${'ab'.repeat(64)}/bl10-tee0-snp24-ucode219.der`,
  ],
  [
    { kind: 'amd-chain', product: 'Genoa', signer: 'vcek' },
    'https://kdsintf.amd.com/vcek/v1/Genoa/cert_chain',
    'amd/vcek/Genoa/cert_chain.pem',
  ],
  [
    { kind: 'amd-crl', product: 'Genoa', signer: 'vlek' },
    'https://kdsintf.amd.com/vlek/v1/Genoa/crl',
    'amd/vlek/Genoa/crl.der',
  ],
  [
    { kind: 'intel-tcb-info', fmspc: fromHex('00806f050000') },
    'https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=00806f050000&update=standard',
    'intel/tdx/tcb/00806f050000.json',
  ],
  [
    { kind: 'intel-qe-identity' },
    'https://api.trustedservices.intel.com/tdx/certification/v4/qe/identity?update=standard',
    'intel/tdx/qe_identity.json',
  ],
  [
    { kind: 'intel-pck-crl', ca: 'processor' },
    'https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=processor&encoding=der',
    'intel/pckcrl/processor.der',
  ],
  [
    { kind: 'intel-root-crl' },
    'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der',
    'intel/rootcacrl.der',
  ],
];

describe('statements of vendors (AMD 57230 s.4, Intel PCS API v4)', () => {
  test.each(rows)('%o is at its URL and has its place in the folder', (statement, url, name) => {
    expect(urlOf(statement, urls)).toBe(url);
    expect(nameOf(statement)).toBe(name);
    expect(statementNamed(name)).toEqual(statement);
  });

  test('a VCEK of any chip and TCB is found again by its name', () => {
    const svn = fc.integer({ min: 0, max: 255 });
    const tcbs = fc.record({ fmc: svn, bootloader: svn, tee: svn, snp: svn, microcode: svn });
    const ids = fc.uint8Array({ minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(ids, tcbs, (id, any) => {
        const statement: VendorStatement = {
          kind: 'amd-vcek',
          product: 'Turin',
          hwId: id,
          tcb: any,
        };
        expect(statementNamed(nameOf(statement))).toEqual(statement);
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    'amd/vcek/Turin/0123456789ABCDEF/fmc1-bl10-tee0-snp24-ucode219.der',
    'amd/vcek/Turin/0123456789abcdef/bl10-tee0-snp24-ucode219.der',
    'amd/vcek/Genoa/0123456789abcdef/fmc1-bl10-tee0-snp24-ucode219.der',
    'amd/vcek/Genoa/0123456789abcdef/bl010-tee0-snp24-ucode219.der',
    'amd/vcek/Naples/cert_chain.pem',
    'amd/vcek/../vcek/cert_chain.pem',
    'intel/tdx/tcb/00806F050000.json',
    'intel/tdx/tcb/00806f050000.chain.pem',
    'intel/pckcrl/root.der',
    'README',
  ])('%s is no statement', (name) => {
    expect(statementNamed(name)).toBeUndefined();
  });
});
