import type { Conformance } from './row.js';

export const tdx: Conformance = {
  title: 'Intel TDX',
  of: 'Intel TDX DCAP (quote, PCS v4 collateral), protocol.md s.3',
  tests: {
    'core/tdx/parse.test.ts': [
      ['s.3.2 step 1', 'Versions 4 and 5 are read, no other.', 'version 6', 'UNSUPPORTED_VERSION'],
      ['s.3.2 step 1', 'The quote is of a TD.', 'TEE type SGX', 'UNSUPPORTED_EVIDENCE'],
      [
        's.3.2 step 1',
        'It is by Intel\u2019s Quoting Enclave.',
        'another vendor of the Quoting Enclave',
        'UNSUPPORTED_EVIDENCE',
      ],
      [
        's.3.2 step 1',
        'The attestation key is ECDSA P-256.',
        'attestation key of type 3 (P-384)',
        'UNSUPPORTED_SIGNATURE_ALGO',
      ],
      [
        's.3.1',
        'Lengths inside fill what is around them.',
        'certification size beyond the end',
        'MALFORMED',
      ],
    ],
    'core/tdx/endorsement/collateral.test.ts': [
      ['s.3.2 step 2', 'The root is pinned.', 'a root that is not pinned', 'UNTRUSTED_ROOT'],
      [
        's.3.2 step 2',
        'Both revocation lists are there and in date.',
        'no revocation lists',
        'COLLATERAL_STALE',
      ],
      [
        's.3.2 step 2',
        'A revoked signer of collateral is refused.',
        'the signer on the root list',
        'CERT_REVOKED',
      ],
      [
        's.3.2 step 3',
        'TCB Info is signed over its exact bytes.',
        'the text of a statement may not be written again, whatever it says',
      ],
      [
        's.3.2 step 3',
        'TCB Info is signed by Intel\u2019s signer.',
        'TCB Info signed by another key',
        'COLLATERAL_SIGNATURE',
      ],
      ['s.3.2 step 3', 'TCB Info is of TDX, version 3.', 'TCB Info of SGX', 'COLLATERAL_TYPE'],
      [
        's.3.2 step 3',
        'issueDate <= now <= nextUpdate.',
        'TCB Info after its next update',
        'COLLATERAL_STALE',
      ],
      ['s.3.2 step 4', 'QE Identity is of TD_QE.', 'QE Identity of SGX', 'COLLATERAL_TYPE'],
      [
        's.3.2 step 5',
        'The PCK chain verifies by its names and roles.',
        'a PCK certificate of another name',
        'CHAIN_INVALID',
      ],
      ['s.3.2 step 5', 'A revoked PCK is refused.', 'the PCK on its list', 'CERT_REVOKED'],
      [
        's.3.2 step 5',
        'The SGX extensions are there.',
        'a PCK certificate without SGX extensions',
        'CERT_EXTENSION_MISSING',
      ],
    ],
    'core/tdx/verify.test.ts': [
      [
        's.3.2 step 6',
        'The PCK signed the QE report.',
        'a QE report that the PCK did not sign',
        'QE_REPORT_INVALID',
      ],
      [
        's.3.2 step 7',
        'The QE report binds the attestation key.',
        'a QE report that binds another key',
        'QE_REPORT_INVALID',
      ],
      [
        's.3.2 step 7',
        'The rest of its report data is zero.',
        'a QE report with more behind the binding',
        'QE_REPORT_INVALID',
      ],
      [
        's.3.2 step 8',
        'MRSIGNER and ISVPRODID are those of the identity.',
        'a QE of another signer',
        'QE_IDENTITY_MISMATCH',
      ],
      ['s.3.2 step 8', 'A debug QE is refused.', 'a QE under debug', 'QE_IDENTITY_MISMATCH'],
      [
        's.3.2 step 9',
        'The attestation key signed the quote, each byte.',
        'a change of any signed byte is EVIDENCE_SIGNATURE_INVALID',
        'EVIDENCE_SIGNATURE_INVALID',
      ],
      [
        's.3.2 step 10',
        'FMSPC and PCE-ID are those of TCB Info.',
        'TCB Info of another FMSPC',
        'FMSPC_MISMATCH',
      ],
      [
        's.3.2 step 11',
        'The TDX module is one that Intel lists.',
        'a module of another signer',
        'TDX_MODULE_MISMATCH',
      ],
      [
        's.3.2 step 12',
        'A quote that matches no level is refused.',
        'no level at all',
        'TCB_UNKNOWN',
      ],
      ['s.3.2 step 13', 'Revoked is terminal.', 'a revoked platform', 'TCB_REVOKED'],
    ],
    'core/tdx/tcb.test.ts': [
      [
        's.3.2 step 12',
        'The first level whose components are all reached counts.',
        'is the first whose components are all reached',
      ],
      [
        's.3.2 step 12',
        'Components 0 and 1 are the module\u2019s where it has a version.',
        'TDX components 0 and 1 do not count for a module that has a version',
      ],
      [
        's.3.2 step 12',
        'No level is no status, never UpToDate.',
        'a quote that matches no level has no status at all',
      ],
      [
        's.3.2 step 13',
        'Of platform, module and QE the worst wins.',
        '%s with %s is %s, in either order',
      ],
      [
        's.3.2',
        'A TD launched under an older module is told.',
        'launched under an old module, a current one is loaded now',
      ],
    ],
    'core/tdx/appraise.test.ts': [
      ['s.3.3', 'DEBUG and the whole TUD byte are zero.', 'a debug TD', 'POLICY_DEBUG'],
      ['s.3.3', 'Reserved attributes are zero.', 'a reserved attribute', 'POLICY_GUEST'],
      ['s.3.3', 'XFAM keeps to what a TD can have.', 'an XFAM that no TD can have', 'POLICY_GUEST'],
      [
        's.3.3',
        'MRTD is in the reference set.',
        'an MRTD that is not listed',
        'POLICY_MEASUREMENT',
      ],
      ['s.3.3', 'A service TD is listed.', 'a foreign service TD', 'POLICY_MIGRATION'],
      [
        's.3.2',
        'An open advisory is accepted by name and for a time.',
        'an advisory accepted until yesterday',
        'POLICY_ADVISORY',
      ],
      [
        's.3.2',
        'A relaunch is advised by its own code.',
        'codes tell an old TCB from an advised relaunch and from an advisory',
        'RELAUNCH_ADVISED',
      ],
    ],
    'core/tdx/registers.test.ts': [
      [
        's.4',
        'An RTMR counts as explained only where the log gives its value.',
        'a register whose events are not in the log is not explained',
      ],
    ],
  },
};
