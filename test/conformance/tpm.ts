import type { Conformance } from './row.js';

export const tpm: Conformance = {
  title: 'TPM 2.0, event logs, Azure',
  of: 'TPM 2.0 Library, TCG PC Client Platform Firmware Profile, protocol.md s.4',
  tests: {
    'core/tpm/verify.test.ts': [
      [
        's.4 step 2',
        'The AK signed the quote as received.',
        'a quote of another AK',
        'EVIDENCE_SIGNATURE_INVALID',
      ],
      [
        's.4 step 5',
        'The bank is SHA-256 or SHA-384, one alone.',
        'the SHA-1 bank',
        'PCR_SELECTION',
      ],
      [
        's.4 step 5',
        'The selection counts, not the digest alone.',
        'the same values under other numbers',
        'PCR_MISMATCH',
      ],
      [
        's.4 step 6',
        'pcrDigest is over the values that were sent.',
        'another value',
        'PCR_MISMATCH',
      ],
      [
        's.4 step 8',
        'A log without the quoted bank is refused.',
        'a log without the quoted bank',
        'EVENT_LOG_MISMATCH',
      ],
      [
        's.6.1',
        'The config document is what the config PCR holds.',
        'another extension of the config PCR',
        'EVENT_LOG_MISMATCH',
      ],
      [
        's.6.1',
        'The log of a host does not speak for the config document.',
        'a config document that the agent names is not believed for a PCR %s',
        'EVENT_LOG_MISMATCH',
      ],
    ],
    'core/tpm/ak/trust.test.ts': [
      [
        's.4 step 1',
        'A quote counts only under an AK that something vouches for.',
        'no certificate and no credential',
        'AK_UNTRUSTED',
      ],
      [
        's.4 step 1',
        'The certificate of an EK is not that of an AK.',
        'the certificate of an EK',
        'WRONG_KEY_TYPE',
      ],
      [
        's.4 step 1',
        'A key that is not restricted is no AK, activated or not.',
        'an unrestricted key is no AK, activated or not',
        'AK_UNTRUSTED',
      ],
      [
        's.4 step 1',
        'A key certified for another purpose is no AK.',
        'a certificate for TLS',
        'WRONG_KEY_TYPE',
      ],
      [
        's.4 step 1 b',
        'Only Google names instances of Google Cloud.',
        "an instance of Google Cloud is Google's word, not a maker of TPMs'",
      ],
    ],
    'core/tpm/attest.test.ts': [
      ['s.4 step 3', 'The magic is TPM_GENERATED_VALUE.', 'another magic', 'MALFORMED'],
      ['s.4 step 3', 'The type is TPM_ST_ATTEST_QUOTE.', 'a certification', 'MALFORMED'],
      ['s.4 step 3', 'Nothing follows it.', 'bytes behind it', 'MALFORMED'],
      ['s.4 step 2', 'SHA-1 signatures are refused.', 'SHA-1', 'UNSUPPORTED_SIGNATURE_ALGO'],
    ],
    'server/key-server/formats.test.ts': [
      [
        's.4 step 7',
        'resetCount does not go back for one AK.',
        'a state of the TPM that was put back is refused, and recorded so',
        'TPM_ROLLED_BACK',
      ],
    ],
    'core/tpm/ak/credential.test.ts': [
      [
        'Part 1 s.24',
        'Only the TPM with EK and AK opens the credential.',
        'with an EK on %s no other AK can be activated',
      ],
    ],
    'core/eventlog/replay.test.ts': [
      ['PFP s.10.4', 'EV_NO_ACTION is not extended.', 'EV_NO_ACTION is not extended'],
      [
        'PFP s.10.4.5.3',
        'PCR 0 starts with the startup locality.',
        'PCR 0 starts with the startup locality',
      ],
      [
        's.4 step 8',
        'A register is explained only by all of its events in order.',
        'a register with an event %s is not explained',
      ],
      ['s.4', 'Event data is believed only where its digest is the digest.', 'data that was not'],
    ],
    'core/eventlog/secure-boot.test.ts': [
      [
        'PFP s.3.3.4.8',
        'Secure Boot is what was measured before the one separator.',
        'SecureBoot after the separator',
      ],
      [
        's.4',
        'Types of events are not measured, and not believed.',
        'Secure Boot that is off, and forged events behind the separator',
      ],
      ['s.4', 'Debug mode of the firmware proves nothing.', 'debug mode of the firmware'],
      [
        's.4',
        'Data that is not what was measured proves nothing.',
        'SecureBoot whose data says 1 and whose digest 0',
      ],
    ],
    'core/tpm/appraise.test.ts': [
      ['s.4', 'PCR 12 is untouched or listed.', 'an unlisted command line', 'POLICY_MEASUREMENT'],
      [
        's.6.8',
        'Secure Boot is asked by default.',
        'Secure Boot that is off',
        'POLICY_SECURE_BOOT',
      ],
      ['s.6.8', 'No reference admits nothing.', 'an unlisted boot', 'POLICY_MEASUREMENT'],
    ],
    'core/tpm/ak/hcl.test.ts': [
      [
        's.4 c',
        'The report data is the digest of the runtime data and zeros.',
        'the digest and more',
      ],
    ],
    'core/azure/scheme.test.ts': [
      [
        's.4, s.6.6',
        'Quote and report share one AK.',
        'a quote of another TPM',
        'EVIDENCE_SIGNATURE_INVALID',
      ],
      [
        's.4, s.6.6',
        'Quote and report share one binding.',
        'a quote of another session',
        'BINDING_MISMATCH',
      ],
      [
        's.4 c',
        'The hardware reports the runtime data that names the AK.',
        'runtime data that the hardware did not report',
        'RUNTIME_DATA_MISMATCH',
      ],
    ],
  },
};

export const cca: Conformance = {
  title: 'Arm CCA',
  of: 'draft-ffm-rats-cca-token',
  tests: {
    'core/cca/verify.test.ts': [
      [
        's.5',
        'The platform key is endorsed for this implementation and instance.',
        'a key endorsed for another instance',
        'AK_UNTRUSTED',
      ],
      [
        's.5',
        'The platform key signed the platform token.',
        'a platform part by another key',
        'EVIDENCE_SIGNATURE_INVALID',
      ],
      [
        's.5',
        'The realm key signed the realm token.',
        'a realm part by another key than it names',
        'EVIDENCE_SIGNATURE_INVALID',
      ],
      [
        's.5',
        'The platform challenge is the hash of the realm key.',
        'a platform part over another realm key',
        'REALM_KEY_MISMATCH',
      ],
      [
        's.4.2',
        'A platform that is not secured is refused, whatever a policy says.',
        'lifecycle state %i fails %j, whatever a policy says',
      ],
      ['s.5', 'Every byte counts.', 'a change of any byte is refused'],
    ],
  },
};
