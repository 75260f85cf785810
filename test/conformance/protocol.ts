import type { Conformance } from './row.js';

export const session: Conformance = {
  title: 'Session and order of checks',
  of: 'protocol.md',
  tests: {
    'core/rats/appraise.test.ts': [
      [
        's.6.8',
        'A forged report is told before anything that it says.',
        'a forged report is told before a wrong nonce',
      ],
      [
        's.6.8 step 1',
        'Evidence of no known kind is refused.',
        'no evidence of a known format',
        'UNSUPPORTED_EVIDENCE',
      ],
      [
        's.6.8 step 7',
        'Report data is the Binding of this session, all of it.',
        'report data that is a prefix',
        'BINDING_MISMATCH',
      ],
      [
        's.6.8 step 9',
        'HOST_DATA is the digest of the config document.',
        'another config document',
        'CONFIG_MISMATCH',
      ],
      ['s.0.7', 'No policy means nothing is released.', 'no policy releases nothing', 'NO_POLICY'],
      [
        's.0.5',
        'Simulated hardware is admitted only by saying so.',
        'simulated hardware is refused unless the policy says so',
        'POLICY_SIMULATED',
      ],
      [
        's.6.8',
        'A format without rules is not admitted.',
        'a format without rules is not admitted',
        'POLICY_REFUSED',
      ],
      [
        's.6.8',
        'An appraisal can be computed again from what was stored.',
        'the result can be computed again from what was stored',
      ],
    ],
    'core/session/handshake.test.ts': [
      [
        's.6.1',
        'An agent talks only to a Key Server that its config document names.',
        'a rogue Key Server, with its own key or claiming the genuine one',
        'SERVER_UNTRUSTED',
      ],
      [
        's.6.2',
        'The Binding names every part of the session.',
        'report data is SHA-512 over the Binding, which names every part',
      ],
      [
        's.6.2',
        'The exporter is of this connection.',
        'not through a relay that ends TLS: the exporters differ',
      ],
      [
        's.6.6',
        'Evidence fits one session.',
        'not replayed in a second session, even on the same connection',
      ],
      [
        's.6.2',
        'A challenge lasts 60 seconds by the server\u2019s clock.',
        'evidence at or after the end of its challenge (60 s), by its own clock',
        'NONCE_EXPIRED',
      ],
      ['s.6.5', 'There is a common version, or no session.', 'no common version', 'VERSION'],
      ['s.6.5', 'There is a common suite, or no session.', 'no common suite', 'SUITE'],
      [
        's.6.3',
        'An unknown critical extension is refused.',
        'an unknown critical extension',
        'UNKNOWN_CRITICAL',
      ],
      [
        's.6.2',
        'th_final covers every message.',
        'two ends that saw different evidence frames do not agree',
      ],
    ],
    'core/session/frames.test.ts': [
      ['s.6.2', 'The sequence has no gaps.', 'a frame that is %s ends the session'],
      [
        's.6.2',
        'Each message has its place.',
        'server after %i steps takes %s alone',
        'PROTOCOL_ORDER',
      ],
    ],
    'core/session/activation.test.ts': [
      [
        's.4 a',
        'The answer to a credential is of this session.',
        'an answer of another session is refused',
      ],
    ],
    'server/key-server/misuse.test.ts': [
      [
        's.6.6',
        'A machine that terminates TLS on both legs is refused.',
        'a machine in the middle that terminates TLS on both legs is refused: BINDING_MISMATCH',
      ],
      [
        's.6.2',
        'A frame again, or one left out, ends the stream.',
        'a frame again, or one left out, ends the stream: SEQUENCE',
        'SEQUENCE',
      ],
    ],
    'server/key-server/session.test.ts': [
      [
        's.6.5',
        'A session ends with its lease.',
        'after the lease the agent must attest again',
        'REATTEST_REQUIRED',
      ],
      [
        's.6.5',
        'A foreign KeyID and an unknown one get the same answer.',
        "another tenant's KeyID and an unknown one are told apart by nobody",
      ],
      [
        's.6.5',
        'A retry gives the same key, with other content it is refused.',
        'a repeated request id gives the same key, with other content it is refused',
        'IDEMPOTENCY_MISMATCH',
      ],
      [
        's.6.5',
        'An unattested peer learns a code, nothing else.',
        'a tampered report: only the code leaves the server, the reason stays in its log',
      ],
    ],
    'core/hostile-input.test.ts': [
      [
        's.6.6',
        'No input ends in anything but a code, in bounded memory.',
        '%s is accepted or refused by a code, in bounded memory',
      ],
    ],
  },
};

export const svn: Conformance = {
  title: 'Keys, SVNs and policies',
  of: 'protocol.md s.6.4, s.6.9',
  tests: {
    'core/keying/policy-rules.test.ts': [
      [
        's.6.4 (1)',
        'A level asks no less than the one below.',
        'a level weaker than one below it',
        'POLICY_INVALID',
      ],
      ['s.6.4 (2)', 'A next version relaxes no level.', 'a laxer level', 'POLICY_NOT_TIGHTER'],
      ['s.6.4 (3)', 'The floor never falls.', 'a lower floor', 'POLICY_NOT_TIGHTER'],
      ['s.6.3', 'Versions are a chain.', 'another predecessor', 'POLICY_CHAIN'],
    ],
    'core/keying/rules.test.ts': [
      [
        's.6.4 (4)',
        'An agent below the floor gets nothing.',
        'an agent below the floor, whatever it asks',
        'SVN_BELOW_FLOOR',
      ],
      [
        's.6.4 (4)',
        'Nobody gets a key above the own level.',
        'an SVN above the level',
        'SVN_ABOVE_LEVEL',
      ],
      ['s.6.4 (4)', 'A retired SVN is not served.', 'a retired SVN', 'KEY_RETIRED'],
      [
        's.6.4 (5)',
        'A target below the floor is refused.',
        'a target below the floor',
        'SVN_NOT_INCREASING',
      ],
      [
        's.6.4 (5)',
        'A target equal to the floor changes nothing.',
        'a target equal to the floor changes nothing',
      ],
      [
        's.6.4 (5)',
        'A raise names the floor that it expects.',
        'another floor than expected',
        'CAS_MISMATCH',
      ],
      [
        's.6.3',
        'A key is confirmed by its check value.',
        'refuses a key check value of another key',
        'KCV_MISMATCH',
      ],
      [
        's.6.9',
        'The table of states is whole.',
        'knows five states and thirteen operations, every pair of them',
        'KEY_STATE',
      ],
      ['s.6.9', 'DESTROYED is terminal.', 'DESTROYED is terminal', 'KEY_DESTROYED'],
      [
        's.6.9 I3',
        'A suspended key releases nothing.',
        'a %s key releases nothing (I3)',
        'KEY_SUSPENDED',
      ],
      [
        's.6.9 I1-I3',
        'Marks never fall, and nothing leaves outside of them.',
        'I1, I2, I3: marks never fall, retired <= floor <= level, nothing leaves outside them',
      ],
      [
        's.6.3',
        'A quota counts the keys that there are.',
        'the quota counts the keys that there are',
        'QUOTA',
      ],
    ],
    'server/key-server/log/rollback.test.ts': [
      [
        's.6.4',
        'A server that is shown its own checkpoint from the future serves nobody.',
        'one from the future: nobody is served any more, and the alarm is raised',
        'SERVER_ROLLBACK',
      ],
    ],
    'agent/session/checkpoints.test.ts': [
      [
        's.6.4',
        'An agent refuses a server that does not prove consistency with the checkpoint it keeps.',
        'a server whose log %s is refused before any evidence leaves',
        'LOG_INCONSISTENT',
      ],
    ],
    'core/log/proofs.test.ts': [
      [
        's.6.4',
        'Inclusion and consistency proofs are those of RFC 9162.',
        'are those of the definition, and verify, between every two sizes',
      ],
    ],
    'core/keying/derivation.test.ts': [
      [
        's.6.3',
        'A key is HKDF-Expand of the root key over its whole context.',
        'is HKDF-Expand of the root key over its whole context',
      ],
      ['s.6.9 I6', 'A key stays what it is.', 'a recorded value stays what it is (I6)'],
    ],
    'server/key-server/release/crash.test.ts': [
      [
        's.6.9 I5, I7',
        'A crash at any write loses nothing acknowledged.',
        'nothing acknowledged is lost, no floor is lower, every key is what it was',
      ],
    ],
    'server/key-server/release/damage.test.ts': [
      [
        's.6.4',
        'A changed store is noticed before anything is read from it.',
        'flipped bits of a table, its index and its filter are found before anything is read',
      ],
    ],
    'core/keying/tenant-rules.test.ts': [
      [
        's.6.9',
        'A compromised key forces the advice to re-key and blocks allocation.',
        'is still served, always with the advice to re-key, and not allocated from',
        'KEY_COMPROMISED',
      ],
      [
        's.6.9',
        'An epoch ends only below one that is in use.',
        'an epoch is retired only where a newer one is in use',
        'KEY_RETIRED',
      ],
    ],
    'server/key-server/lifecycle/key-life.test.ts': [
      [
        's.6.5',
        'A key is destroyed by its quorum alone.',
        'needs the quorum that the policy asks for, and says so in the log',
        'QUORUM',
      ],
      [
        's.6.5',
        'A destruction waits for its delay, and nothing is released meanwhile.',
        'releases nothing from the order on; is executed when due, also after a restart',
        'KEY_DESTROY_PENDING',
      ],
      [
        's.6.5',
        'An order that was taken back cannot be sent again.',
        'taken back before it is due, it is suspended; the same order is good for nothing',
        'CAS_MISMATCH',
      ],
      [
        's.6.9',
        'A suspended key releases nothing until it is resumed.',
        'a suspended key releases nothing, across a restart, until it is resumed',
        'KEY_SUSPENDED',
      ],
    ],
    'server/key-server/lifecycle/falls-due.test.ts': [
      [
        's.6.5',
        'A restored backup does not bring a destroyed key back.',
        'a copy of the store from before it does not bring the key back, with the vault of now',
        'KEY_DESTROYED',
      ],
    ],
    'server/key-server/lifecycle/receipt.test.ts': [
      [
        's.6.3',
        'A receipt proves a destruction without the server.',
        'proves by the log that each key is destroyed; checked without the server',
      ],
    ],
    'server/key-server/lifecycle/life-model.test.ts': [
      [
        's.6.9 I1-I6',
        'No sequence of operations, restarts and crashes breaks the invariants.',
        'over every state and many epochs, with restarts and crashes in between',
      ],
    ],
    'agent/provision/crashes.test.ts': [
      [
        's.6.4, s.6.9 I7',
        'A crash at any point leaves a slot whose key is still to be had.',
        'at each %s: a slot opens with a key that is served; the next boot ends it',
      ],
    ],
  },
};
