import type { Conformance } from './row.js';

export const snp: Conformance = {
  title: 'AMD SEV-SNP',
  of: 'SEV-SNP ABI (ATTESTATION_REPORT), AMD VCEK specification, protocol.md s.2',
  tests: {
    'core/snp/verify.test.ts': [
      [
        'ABI VERSION',
        'Versions 2 to 5 are read, no other is guessed at.',
        'version 6',
        'UNSUPPORTED_VERSION',
      ],
      [
        'ABI SIGNATURE_ALGO',
        'The algorithm is ECDSA P-384 with SHA-384.',
        'SIGNATURE_ALGO 2',
        'UNSUPPORTED_SIGNATURE_ALGO',
      ],
      ['ABI KEY_INFO', 'An unsigned report is refused.', 'SIGNING_KEY none', 'WRONG_SIGNING_KEY'],
      [
        'ABI KEY_INFO',
        'The key is of the kind that the report names.',
        'SIGNING_KEY VLEK under a VCEK',
        'WRONG_SIGNING_KEY',
      ],
      [
        'ABI KEY_INFO',
        'MASK_CHIP_KEY is refused.',
        'MASK_CHIP_KEY under a VCEK',
        'CHIP_ID_MISMATCH',
      ],
      [
        'ABI SIGNATURE',
        'Bytes 000 to 29F are signed, each of them.',
        'is refused for each byte of %s',
        'EVIDENCE_SIGNATURE_INVALID',
      ],
      [
        'ABI SIGNATURE',
        'R and S are little-endian and not zero.',
        'with R and S big-endian, zero, or swapped is refused',
      ],
      ['ABI reserved', 'Reserved bytes are zero.', 'version %i: byte %i must be zero', 'MALFORMED'],
      ['ABI POLICY', 'Bit 17 is one.', 'policy bit 17 clear', 'MALFORMED'],
      ['ABI POLICY', 'Bits 63:26 are zero.', 'policy bit 26', 'MALFORMED'],
      ['ABI CHIP_ID', 'The chip is that of the VCEK.', 'another chip', 'CHIP_ID_MISMATCH'],
      [
        'ABI CPUID',
        'Report, certificate and root are of one product.',
        'CPUID of another product',
        'PRODUCT_MISMATCH',
      ],
      [
        'ABI REPORTED_TCB',
        'It equals the SPLs of the certificate.',
        'REPORTED_TCB above the certificate',
        'TCB_MISMATCH',
      ],
      [
        'protocol.md s.2.1',
        'REPORTED <= COMMITTED, by component.',
        'COMMITTED_TCB below REPORTED_TCB',
        'TCB_MISMATCH',
      ],
      [
        'protocol.md s.2.1',
        'COMMITTED <= CURRENT, by component.',
        'CURRENT_TCB below COMMITTED_TCB',
        'TCB_MISMATCH',
      ],
      [
        'protocol.md s.2.1',
        'A TCB is read by the layout of its product.',
        'the TCB layout of a Genoa in a Turin',
        'MALFORMED',
      ],
    ],
    'core/snp/endorsement.test.ts': [
      [
        'VCEK spec. t.8',
        'An absent extension is refused, not passed over.',
        'no hwID',
        'CERT_EXTENSION_MISSING',
      ],
      [
        'VCEK spec. t.8',
        'hwID is compared whole.',
        'only the first 8 bytes of the hwID',
        'CHIP_ID_MISMATCH',
      ],
      ['VCEK spec. t.8', 'hwID and cspID are exclusive.', 'both hwID and cspID', 'MALFORMED'],
      [
        'VCEK spec. t.8',
        'SPLs are INTEGERs in their shortest form.',
        'an SPL that is padded',
        'NOT_CANONICAL',
      ],
      [
        'VCEK spec. t.8',
        'productName is compared whole.',
        'a productName that begins like the product',
        'PRODUCT_MISMATCH',
      ],
      [
        'VCEK spec. t.8',
        'hwID is raw bytes, whatever they look like.',
        'a raw hwID may look like DER',
      ],
      ['protocol.md s.2.2', 'The leaf is on P-384.', 'a P-256 key', 'WRONG_KEY_TYPE'],
    ],
    'core/snp/revocation.test.ts': [
      ['protocol.md s.2.2', 'A revoked ASK is refused.', 'a revoked ASK', 'CERT_REVOKED'],
      ['protocol.md s.2.2', 'A stale list is refused.', 'a stale list', 'COLLATERAL_STALE'],
      [
        'protocol.md s.2.2',
        'No list hides what another revokes.',
        'a list from one source does not hide what another revokes',
      ],
    ],
    'core/snp/appraise.test.ts': [
      [
        'protocol.md s.0.7',
        'DEBUG is refused, whatever a policy says.',
        'DEBUG is refused',
        'POLICY_DEBUG',
      ],
      [
        'protocol.md s.6.8',
        'Without a measurement nothing is admitted.',
        'no measurement admits nothing',
        'POLICY_MEASUREMENT',
      ],
      [
        'protocol.md s.2.1',
        'VMPL is what the policy says, never any.',
        'VMPL 1 where 0 is asked',
        'POLICY_VMPL',
      ],
      [
        'protocol.md s.1',
        'Milan is refused unless its chip or family is named.',
        'Milan by default',
        'POLICY_CHIP',
      ],
      ['protocol.md s.1', 'Chips can be refused by name.', 'a chip that is refused', 'POLICY_CHIP'],
      [
        'protocol.md s.2.1',
        'ALIAS_CHECK_COMPLETE is asked by default.',
        'memory aliases not checked',
        'POLICY_GUEST',
      ],
      [
        'protocol.md s.2.1',
        'A migration agent is in the TCB: it must be admitted.',
        'another migration agent',
        'POLICY_MIGRATION',
      ],
      [
        'protocol.md s.2.1',
        'Provisional firmware is refused by default.',
        'firmware that can be rolled back',
        'POLICY_TCB',
      ],
      [
        'protocol.md s.6',
        'All failures of a policy are listed.',
        'all failures are listed, in the order of the rules',
      ],
    ],
    'core/svsm/scheme.test.ts': [
      [
        'SVSM spec. s.7',
        'The report is over nonce and services manifest.',
        'another manifest than was reported',
        'RUNTIME_DATA_MISMATCH',
      ],
      [
        'SVSM spec. s.7',
        'The report is of VMPL 0.',
        'a report that the guest asked for at VMPL 2',
        'POLICY_VMPL',
      ],
      [
        'protocol.md s.4',
        'The AK is one that the manifest vouches for.',
        'a quote of another TPM',
        'AK_UNTRUSTED',
      ],
    ],
  },
};
