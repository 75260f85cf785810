import { toBase64Url, utf8 } from '#core/bytes.js';
import { type EcPublicKey, ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { confirmationReportData, passportCollection, signProof } from '#core/ear/passport.js';
import { earBytesMax } from '#core/ear/token.js';
import { CvmpError } from '#core/errors.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { crypto } from '#crypto';
import { runProgram } from '../child-program.js';
import type { PassportConfig } from '../config-attester.js';
import type { Attester } from './attester.js';

export interface PassportOptions {
  readonly configDocument: Uint8Array;
  /** Milliseconds that only go up; unlike the clock, the host cannot turn it back. */
  readonly monotonic: () => number;
}

/**
 * Shows the Attestation Result of an external verifier instead of evidence (RFC 9334 s.5.1). The
 * verifier gets evidence of this CVM: over the session's Binding, so that its result is good for this
 * session alone; or, where results are used again, over a key that exists only here, and each session
 * gets a proof by that key.
 * @param hardware makes the evidence; closed together with this attester
 */
export function passportAttester(
  hardware: Attester,
  config: PassportConfig,
  { configDocument, monotonic }: PassportOptions,
): Attester {
  const ask = async (binding: Uint8Array, key?: EcPublicKey) => {
    const evidence = await hardware.evidence(binding);
    return resultOf(config, verifierRequest({ binding, evidence, configDocument, key }));
  };
  let held: Held | undefined;
  const heldResult = async (): Promise<Held> => {
    if (held !== undefined && monotonic() < held.until) return held;
    const key = await crypto.generateEcKey('P-256');
    const publicKey = ecPublicKey(key.curve, key.publicPoint);
    const ear = await ask(confirmationReportData(publicKey), publicKey);
    held = { key, ear, until: monotonic() + config.reuseMs };
    return held;
  };
  return {
    profiles: ['ear'],
    hardware,
    async evidence(reportData) {
      if (config.reuseMs === 0) return encodeCmw(passportCollection(await ask(reportData)));
      const { key, ear } = await heldResult();
      return encodeCmw(passportCollection(ear, await signProof(key, reportData)));
    },
    close: () => hardware.close(),
  };
}

/** A result with the key that it names. */
interface Held {
  readonly key: EcPrivateKey;
  readonly ear: Uint8Array;
  /** By the monotonic clock. */
  readonly until: number;
}

/**
 * What the verifier is asked, as JSON: `binding` (64 bytes that the evidence is made over),
 * `evidence` (CMW collection), `config_document`, and `confirmation_key` (COSE_Key) where the result is
 * to name one; base64url without padding.
 */
function verifierRequest(asked: {
  readonly binding: Uint8Array;
  readonly evidence: Uint8Array;
  readonly configDocument: Uint8Array;
  readonly key: EcPublicKey | undefined;
}): Uint8Array {
  const request = {
    binding: toBase64Url(asked.binding),
    evidence: toBase64Url(asked.evidence),
    evidence_type: 'application/cmw+cbor',
    config_document: toBase64Url(asked.configDocument),
    ...(asked.key === undefined ? {} : { confirmation_key: toBase64Url(encodeCoseKey(asked.key)) }),
  };
  return utf8(JSON.stringify(request));
}

/** The EAR that the program writes, or that the URL answers with. */
async function resultOf(config: PassportConfig, request: Uint8Array): Promise<Uint8Array> {
  const { target, deadlineMs } = config;
  try {
    return target.kind === 'program'
      ? await ofProgram(target.path, request, deadlineMs)
      : await ofUrl(target.url, request, deadlineMs);
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    throw unavailable((cause as Error).message, cause);
  }
}

function unavailable(why: string, cause?: unknown): CvmpError {
  const message = `the external verifier gives no result: ${why}`;
  return new CvmpError('UNAVAILABLE', message, { field: 'ear', cause });
}

async function ofProgram(path: string, input: Uint8Array, deadlineMs: number): Promise<Uint8Array> {
  const { exitCode, stdout, complaints } = await runProgram(path, [], { input, deadlineMs });
  if (exitCode === 0) return stdout;
  throw unavailable(`${path} ended with ${exitCode}: ${complaints.join('; ').slice(0, 500)}`);
}

async function ofUrl(url: string, body: Uint8Array, deadlineMs: number): Promise<Uint8Array> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/eat+jwt' },
    body: new Uint8Array(body),
    redirect: 'error',
    signal: AbortSignal.timeout(deadlineMs),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw unavailable(`HTTP status ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += (chunk as Uint8Array).length;
    if (length > earBytesMax) throw unavailable(`an answer of more than ${earBytesMax} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
