import { fromBase64Url } from '#core/bytes.js';
import { asText } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { decodeCoseKey, type EcPublicKey } from '#core/cose/key.js';
import { parseJsonObject } from '#core/ear/claims-json.js';
import { CvmpError } from '#core/errors.js';

/** What an agent asks a verifier (docs/operating.md, "By an external verifier"). */
export interface VerifierRequest {
  /** 64 bytes that the evidence must be over. */
  readonly binding: Uint8Array;
  /** CMW collection. */
  readonly evidence: Uint8Array;
  readonly configDocument: Uint8Array;
  /** Key that the result is to name. */
  readonly confirmationKey: EcPublicKey | undefined;
}

const members = ['binding', 'evidence', 'evidence_type', 'config_document', 'confirmation_key'];
const textMax = { min: 1, max: 1 << 21 };

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_ALGORITHM */
export function readRequest(bytes: Uint8Array): VerifierRequest {
  const json = parseJsonObject(bytes, 'request');
  const unknown = Object.keys(json).find((name) => !members.includes(name));
  if (unknown !== undefined) {
    throw new CvmpError('MALFORMED', `the request has an unknown member ${unknown}`, {
      field: `request.${unknown}`,
    });
  }
  const text = (name: string) => asText(json[name] as CborValue, `request.${name}`, textMax);
  const decoded = (name: string) => fromBase64Url(text(name), `request.${name}`);
  const binding = decoded('binding');
  if (binding.length !== 64 || text('evidence_type') !== 'application/cmw+cbor') {
    throw new CvmpError(
      'MALFORMED',
      'the request is not over 64 bytes, or not of a CMW collection',
      {
        field: 'request',
      },
    );
  }
  return {
    binding,
    evidence: decoded('evidence'),
    configDocument: decoded('config_document'),
    confirmationKey:
      json.confirmation_key === undefined
        ? undefined
        : decodeCoseKey(decoded('confirmation_key'), 'request.confirmation_key'),
  };
}
