import type { Conformance } from './row.js';

export const results: Conformance = {
  title: 'Attestation Results and reference values',
  of: 'draft-ietf-rats-ear, AR4SI, draft-ietf-rats-corim',
  tests: {
    'core/ear/token.test.ts': [
      [
        'EAR s.3.1',
        'A status claims no more trust than its vector.',
        's.3.1: a status never claims more trust than the claims that it sums up',
      ],
      [
        'EAR s.4',
        'Claims that are not known are read over.',
        's.4: claims that are not known are read over',
      ],
      ['RFC 8725 s.3.1', 'alg none is refused.', 'alg none'],
      [
        'RFC 8725 s.3.11',
        'A token of another type is none.',
        'a token of another type, signed by the same key, is none',
      ],
    ],
    'core/ear/passport.test.ts': [
      [
        's.6.6',
        'All evidence of a result is of this session.',
        'evidence of another session does not come along with evidence of this one',
        'BINDING_MISMATCH',
      ],
      [
        'protocol.md s.1',
        'A result counts for the session over which it was made.',
        'a stolen result is worthless in another session',
        'BINDING_MISMATCH',
      ],
      [
        'protocol.md s.1',
        'Only verifiers of the policy count.',
        'only keys of the policy count, wherever the result came from',
        'VERIFIER_UNTRUSTED',
      ],
      ['AR4SI s.2.3', 'What is contraindicated is refused.', 'contraindicated'],
      [
        'RFC 8747',
        'A confirmation key needs its proof.',
        'a result with a confirmation key needs a proof by it, over this session',
      ],
    ],
    'server/key-server/passport.test.ts': [
      [
        'protocol.md s.1',
        'A policy states what a result must say.',
        'the rules of the policy for this verifier are asked',
        'POLICY_RESULT',
      ],
    ],
    'core/corim/verify.test.ts': [
      [
        'CoRIM s.4.2',
        'A manifest counts only by a trusted signer.',
        'a manifest signed by anybody else is refused',
      ],
      ['CoRIM s.4.1.5', 'A manifest counts within its validity.', 'manifest no longer valid'],
      [
        'RFC 9360',
        'A chain ends in a trusted certificate.',
        'RFC 9360: a chain to another authority, or around another key, is refused',
      ],
    ],
  },
};
