import type { Conformance } from './row.js';

export const cbor: Conformance = {
  title: 'Deterministic CBOR',
  of: 'RFC 8949',
  tests: {
    'core/cbor/decode.test.ts': [
      ['s.4.2.1', 'Heads are of the shortest form.', 'a long head', 'NOT_CANONICAL'],
      ['s.4.2.1', 'Lengths are definite.', 'an indefinite array', 'NOT_CANONICAL'],
      ['s.4.2.1', 'Map keys are in bytewise order.', 'unsorted keys', 'NOT_CANONICAL'],
      [
        's.4.2.1',
        'A writer sorts keys by their encodings.',
        'sorts keys bytewise by their encodings (RFC 8949 s.4.2.1)',
      ],
      ['s.5.6', 'No key occurs twice, in whatever encoding.', 'duplicate keys', 'MALFORMED'],
      [
        's.5.6',
        'A lenient reader sees one key through its encodings.',
        'sees one key through its encodings where they are not canonical',
      ],
      ['s.3.1', 'Text is UTF-8.', 'text that is not UTF-8', 'MALFORMED'],
      ['s.3', 'One item fills the input.', 'trailing bytes', 'MALFORMED'],
      [
        's.5.3.1',
        'Input that is not well-formed is refused, lengths beyond the end too.',
        'an array of 2^32-1 elements',
        'MALFORMED',
      ],
      ['s.10', 'Nesting is bounded.', '17 arrays inside each other', 'SIZE'],
      ['s.10', 'Size is bounded.', 'more bytes than the limit', 'SIZE'],
      [
        's.4.2.1',
        'What is accepted as canonical is its own encoding.',
        'what is accepted as canonical is its own encoding; all else is a coded error',
      ],
      ['s.3.4', 'A tag that nobody asked for is refused.', 'an unlisted tag', 'MALFORMED'],
    ],
  },
};

export const der: Conformance = {
  title: 'DER and X.509',
  of: 'X.690, RFC 5280',
  tests: {
    'core/asn1/der.test.ts': [
      [
        'X.690 s.10.1',
        'Lengths are of the shortest form.',
        'a long form for a short length',
        'NOT_CANONICAL',
      ],
      ['X.690 s.10.1', 'Lengths are definite.', 'an indefinite length', 'NOT_CANONICAL'],
      ['X.690 s.8.3.2', 'An INTEGER is not padded.', 'INTEGER: a padded positive', 'NOT_CANONICAL'],
      ['X.690 s.11.1', 'A BOOLEAN is 00 or FF.', 'BOOLEAN: neither 00 nor FF', 'NOT_CANONICAL'],
      [
        'X.690 s.11.2',
        'Unused bits of a BIT STRING are zero.',
        'BIT STRING: unused bits that are set',
        'NOT_CANONICAL',
      ],
      ['X.690 s.8.1', 'Nothing follows the value.', 'bytes after the end', 'MALFORMED'],
      [
        'X.690 s.11.6',
        'A SET OF is in the order of its encodings.',
        'a SET OF is written in the order that DER asks',
      ],
    ],
    'core/x509/chain.test.ts': [
      [
        'RFC 5280 s.6.1.3',
        'Each certificate is signed by the next.',
        'a leaf that another key signed under the name of the CA',
        'CHAIN_INVALID',
      ],
      [
        'RFC 5280 s.6.1.3',
        'Each certificate names the next as its issuer.',
        'a leaf that names another issuer',
        'CHAIN_INVALID',
      ],
      [
        'RFC 5280 s.6.1.3',
        'Each certificate is within its validity.',
        'a CA that has expired',
        'CERT_EXPIRED',
      ],
      ['RFC 5280 s.6.1.4', 'An issuer is a CA.', 'an issuer without the CA flag', 'CHAIN_INVALID'],
      [
        'RFC 5280 s.6.1.4',
        'An issuer may sign certificates.',
        'an issuer that may not sign certificates',
        'CHAIN_INVALID',
      ],
      [
        'RFC 5280 s.6.1.4',
        'A path is no longer than its CAs allow.',
        'a root that allows no CA below it',
        'CHAIN_INVALID',
      ],
      [
        'RFC 5280 s.4.2',
        'A critical extension that is not understood is refused.',
        'an unknown critical extension',
        'UNKNOWN_CRITICAL',
      ],
      [
        'protocol.md s.2.2',
        'The root signed itself.',
        'a root that did not sign itself',
        'UNTRUSTED_ROOT',
      ],
      [
        'RFC 5280 s.6.3.3',
        'What its issuer revoked is refused.',
        'the serial of the CA on it',
        'CERT_REVOKED',
      ],
      [
        'RFC 5280 s.6.3.3',
        'A revocation list is signed by its issuer.',
        'a list that another key signed',
        'CHAIN_INVALID',
      ],
      [
        'RFC 5280 s.6.3.3',
        'A revocation list is current.',
        'a list that is out of date',
        'COLLATERAL_STALE',
      ],
      [
        'RFC 5280 s.5.2',
        'A partial list is not taken for a whole one.',
        'a partial list',
        'UNKNOWN_CRITICAL',
      ],
      [
        'RFC 5280 s.6.3.3',
        'Its issuer may sign lists.',
        'an issuer that may not sign lists signs none',
      ],
    ],
  },
};

export const cose: Conformance = {
  title: 'COSE and CWT',
  of: 'RFC 9052, 9053, 9679, 8392',
  tests: {
    'core/cose/sign1.test.ts': [
      [
        'RFC 9052 s.3.1',
        'alg is authenticated: it stands in the protected bucket.',
        'alg in the unprotected bucket',
        'UNSUPPORTED_ALGORITHM',
      ],
      ['RFC 9052 s.3', 'A label occurs in one bucket only.', 'alg in both buckets', 'MALFORMED'],
      [
        'RFC 9052 s.3.1',
        'A critical header that is not understood is refused.',
        'an unknown critical header',
        'UNKNOWN_CRITICAL',
      ],
      [
        'RFC 9052 s.3.1',
        'crit is protected, not empty, and names headers that are there.',
        'crit that names an absent header',
        'MALFORMED',
      ],
      [
        'RFC 9052 s.3',
        'An empty protected bucket is authenticated as an empty string.',
        "authenticates h'' where the protected bucket is an empty map (RFC 9052 s.3)",
      ],
      ['RFC 9052 s.4.3', 'external_aad is signed.', 'binds external_aad (s.4.3)'],
      ['RFC 9052 s.4.4', 'Every signed byte counts.', 'a change of any byte is refused'],
      [
        'RFC 9053 s.2.1',
        'The key is of the curve of the algorithm.',
        'an algorithm of another curve than the key is refused',
      ],
      [
        'RFC 9052 s.4.2',
        'A payload is attached or detached, never both.',
        'takes the payload of a detached object from the caller, and never two payloads',
      ],
      [
        'RFC 9679 s.6',
        'A thumbprint is over the required members alone.',
        'has the thumbprint of RFC 9679 s.6',
      ],
    ],
    'core/cose/encrypt0.test.ts': [
      [
        'RFC 9052 s.5.3',
        'Header, external_aad and ciphertext are authenticated.',
        'a change of any byte, another key, key length or external_aad is refused',
        'DECRYPT_FAILED',
      ],
    ],
    'core/cose/cwt.test.ts': [
      ['RFC 8392 s.3.1.3', 'The audience is this server.', 'another audience', 'TOKEN_INVALID'],
      ['RFC 8392 s.3.1.4', 'An expired token is refused.', 'expired', 'TOKEN_INVALID'],
      [
        'RFC 8392 s.3.1.5',
        'A token is not used before its time.',
        'not yet valid',
        'TOKEN_INVALID',
      ],
      [
        'RFC 9596',
        'Another signed object of the same key is no token.',
        'refuses another signer, any changed byte, and a signed object of another type',
        'TOKEN_INVALID',
      ],
    ],
  },
};
