import { toBase64Url, utf8 } from '#core/bytes.js';
import { passportCollection } from '#core/ear/passport.js';
import { earBytesMax } from '#core/ear/token.js';
import { CvmpError } from '#core/errors.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { runProgram } from '../child-program.js';
import type { PassportConfig } from '../config-attester.js';
import type { Attester } from './attester.js';

/**
 * Shows the Attestation Result of an external verifier instead of evidence (RFC 9334 s.5.1). The
 * verifier gets evidence of this CVM over the session's Binding, so its result is good for this
 * session alone.
 * @param hardware makes the evidence; closed together with this attester
 */
export function passportAttester(
  hardware: Attester,
  config: PassportConfig,
  configDocument: Uint8Array,
): Attester {
  return {
    profiles: ['ear'],
    hardware,
    async evidence(reportData) {
      const evidence = await hardware.evidence(reportData);
      const ear = await resultOf(config, verifierRequest(reportData, evidence, configDocument));
      return encodeCmw(passportCollection(ear));
    },
    close: () => hardware.close(),
  };
}

/**
 * What the verifier is asked, as JSON: `binding` (64 bytes that the evidence is made over),
 * `evidence` (CMW collection), `config_document`; base64url without padding.
 */
function verifierRequest(
  binding: Uint8Array,
  evidence: Uint8Array,
  configDocument: Uint8Array,
): Uint8Array {
  const request = {
    binding: toBase64Url(binding),
    evidence: toBase64Url(evidence),
    evidence_type: 'application/cmw+cbor',
    config_document: toBase64Url(configDocument),
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
  throw unavailable(`${path} ended with ${exitCode}: ${complaints.at(-1) ?? ''}`);
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
