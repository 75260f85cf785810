import { crypto } from '#crypto';
import { concat } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import type { SequenceKeys } from '../cose/sequenced-encrypt0.js';
import { hkdfExpand, hkdfExtract } from '../hkdf.js';
import type { Suite } from './suites.js';

/** Digest over the first three messages as sent; the server signs it in SessionAccept. */
export function transcriptOf(
  suite: Suite,
  clientInit: Uint8Array,
  challenge: Uint8Array,
  evidence: Uint8Array,
): Uint8Array {
  return crypto.hash(suite.hash, encode(['CVMP/1 transcript', clientInit, challenge, evidence]));
}

/** Goes on with a transcript where the evidence rests on an AK to activate. */
export function extendTranscript(
  suite: Suite,
  transcript: Uint8Array,
  credential: Uint8Array,
  activation: Uint8Array,
): Uint8Array {
  const input = encode(['CVMP/1 activated transcript', transcript, credential, activation]);
  return crypto.hash(suite.hash, input);
}

/**
 * Shows that the agent's TPM opened the credential of this handshake, and gives the secret to
 * nobody: HMAC-SHA-256 over the transcript of the first three messages and the credential as sent
 * (32 bytes).
 */
export function activationProof(
  secret: Uint8Array,
  transcript: Uint8Array,
  credential: Uint8Array,
): Uint8Array {
  return crypto.hmac('sha256', secret, encode(['CVMP/1 activation', transcript, credential]));
}

export interface SessionKeys {
  readonly agentToServer: SequenceKeys;
  readonly serverToAgent: SequenceKeys;
  /** 32 bytes that enter the keys of a session that attests again on the same stream. */
  readonly continuity: Uint8Array;
}

/**
 * HKDF over the ECDH secret, salted by a digest over all four messages (protocol.md s.6.2), so
 * that two ends with different views of the handshake cannot exchange a single frame.
 * `shared` is overwritten.
 * @param continuity of the session before on the same stream: who attests again is who attested
 */
export function deriveSessionKeys(
  suite: Suite,
  sessionId: Uint8Array,
  shared: Uint8Array,
  transcript: Uint8Array,
  acceptFrame: Uint8Array,
  continuity: Uint8Array = new Uint8Array(),
): SessionKeys {
  const final = crypto.hash(suite.hash, encode(['CVMP/1 final', transcript, acceptFrame]));
  const secret = concat(shared, continuity);
  const pseudorandomKey = hkdfExtract(suite.hash, final, secret);
  secret.fill(0);
  shared.fill(0);
  const expand = (label: string, length: number) =>
    hkdfExpand(
      suite.hash,
      pseudorandomKey,
      encode(['CVMP/1 session', label, suite.id, sessionId, length]),
      length,
    );
  const direction = (name: string): SequenceKeys => ({
    key: expand(`${name} key`, 32),
    iv: expand(`${name} iv`, 12),
  });
  const keys = {
    agentToServer: direction('a2s'),
    serverToAgent: direction('s2a'),
    continuity: expand('continuity', 32),
  };
  pseudorandomKey.fill(0);
  return keys;
}
