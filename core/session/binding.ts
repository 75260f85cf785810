import { crypto } from '#crypto';
import { encode } from '../cbor/encode.js';
import type { CborValue } from '../cbor/value.js';
import { coseKey, type EcPublicKey, thumbprint } from '../cose/key.js';
import type { Challenge } from './messages.js';
import { suiteOf } from './suites.js';

/** Computes keying material from the TLS connection that carries the session (RFC 8446 s.7.5). */
export type ExportKeyingMaterial = (
  label: string,
  context: Uint8Array,
  length: number,
) => Uint8Array;

const bindingLabel = 'CVMP/1 evidence';
const exporterLabel = 'EXPORTER-CVMP-v1';
/** Role of the evidence's maker in the Binding: the Key Agent of a key session. */
const agentRole = 1;

export interface BindingInputs {
  readonly challenge: Challenge;
  /** COSE_Sign1 as sent. */
  readonly challengeFrame: Uint8Array;
  readonly clientInitFrame: Uint8Array;
  readonly nonceA: Uint8Array;
  readonly ephA: EcPublicKey;
  readonly ephK: EcPublicKey;
  readonly ksThumbprint: Uint8Array;
  readonly configDocument: Uint8Array;
  /** Key of this run of the agent; undefined: it has none. */
  readonly instanceKey: EcPublicKey | undefined;
  /** Undefined where the deployment has no channel binding; null enters the Binding. */
  readonly exportKeyingMaterial: ExportKeyingMaterial | undefined;
}

/**
 * What the evidence must carry as REPORTDATA: SHA-512 over the Binding (protocol.md s.6.2), 64
 * bytes. The Binding names the session, both nonces, both ephemeral keys, the Key Server, the
 * config document, this TLS connection and everything said before; evidence made for any other
 * combination, or under another label, does not fit.
 */
export function reportData(inputs: BindingInputs): Uint8Array {
  const { challenge, challengeFrame, clientInitFrame } = inputs;
  const suite = suiteOf(challenge.suite);
  const context = crypto.hash('sha256', challengeFrame);
  const exported = inputs.exportKeyingMaterial?.(exporterLabel, context, 32) ?? null;
  const binding: CborValue[] = [
    bindingLabel,
    suite.id,
    agentRole,
    challenge.sessionId,
    inputs.nonceA,
    challenge.nonceK,
    coseKey(inputs.ephA),
    coseKey(inputs.ephK),
    inputs.ksThumbprint,
    crypto.hash('sha256', inputs.configDocument),
    exported,
    crypto.hash(suite.hash, encode([clientInitFrame, challengeFrame])),
    inputs.instanceKey === undefined ? null : thumbprint(inputs.instanceKey),
  ];
  return crypto.hash('sha512', encode(binding));
}
