import { asInteger, asMap, asText, readMap } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { algOf, headerOf, kidOf, label } from '../cose/headers.js';
import { type CoseSign1, parseSign1 } from '../cose/sign1.js';
import { CvmpError } from '../errors.js';
import { readValidity, type Validity } from './comid.js';
import { type Corim, parseCorim } from './corim.js';
import { readUri } from './identifiers.js';
import { corimBytesMax, decodeManifest } from './tags.js';

/** Who says to have signed, and when the signature holds (`corim-meta`, or CWT claims: RFC 9597). */
export interface SignerStatement {
  readonly name: string;
  readonly uri: string | undefined;
  readonly validity: Validity | undefined;
}

/** A signed manifest. Parsed, not trusted. */
export interface SignedCorim {
  readonly message: CoseSign1;
  readonly alg: number | string | undefined;
  readonly kid: Uint8Array | undefined;
  readonly contentType: string;
  readonly signers: readonly SignerStatement[];
  readonly corim: Corim;
  /** The manifest as it was signed. */
  readonly payload: Uint8Array;
}

const header = { meta: 8, cwtClaims: 15, hashEnvelope: [258, 259, 260] } as const;
/** The second was that of drafts before -02. */
const contentTypes: readonly CborValue[] = [
  'application/rim+cbor',
  'application/corim-unsigned+cbor',
];
const nameRule = { min: 1, max: 1024 };

/** Whether bytes begin as a COSE_Sign1 does, or as one below a tag of older drafts. */
export function looksSigned(bytes: Uint8Array): boolean {
  const [first, second] = withoutWrapper(bytes);
  return first === 0xd2 || (first === 0x84 && second !== undefined);
}

/** Tags 500 and 502 of drafts before -05 stand around the message. */
function withoutWrapper(bytes: Uint8Array): Uint8Array {
  let at = 0;
  while (
    bytes[at] === 0xd9 &&
    bytes[at + 1] === 0x01 &&
    (bytes[at + 2] === 0xf4 || bytes[at + 2] === 0xf6)
  ) {
    at += 3;
  }
  return at === 0 ? bytes : bytes.subarray(at);
}

/**
 * Parses a signed manifest (draft-ietf-rats-corim s.4.2). The manifest is inside; a hash envelope or
 * a detached payload is refused.
 * @throws CvmpError MALFORMED, SIZE, UNKNOWN_CRITICAL, UNSUPPORTED_VERSION (hash envelope)
 */
export function parseSignedCorim(bytes: Uint8Array): SignedCorim {
  const message = parseSign1(withoutWrapper(bytes), {
    tag: 'optional',
    canonical: false,
    understood: [header.meta, header.cwtClaims],
    maxBytes: corimBytesMax,
  });
  const { headers, payload } = message;
  if (header.hashEnvelope.some((key) => headers.protected.has(key))) {
    throw new CvmpError('UNSUPPORTED_VERSION', 'the signature is over a hash envelope', {
      field: 'corim.protected',
    });
  }
  if (payload === null) {
    throw new CvmpError('MALFORMED', 'the signed manifest is detached', { field: 'corim.payload' });
  }
  const contentType = headers.protected.get(label.contentType);
  if (!contentTypes.includes(contentType ?? null)) {
    throw new CvmpError('MALFORMED', 'the content type is not application/rim+cbor', {
      field: 'corim.protected.content-type',
    });
  }
  return {
    message,
    alg: algOf(headers, 'protected'),
    kid: kidOf(headers),
    contentType: contentType as string,
    signers: readSigners(message),
    corim: parseCorim(payload),
    payload,
  };
}

/** At least one of the two statements must be there, both protected. */
function readSigners({ headers }: CoseSign1): readonly SignerStatement[] {
  const meta = headers.protected.get(header.meta);
  const claims = headers.protected.get(header.cwtClaims);
  const signers: SignerStatement[] = [];
  if (meta !== undefined) signers.push(readMeta(meta));
  if (claims !== undefined) signers.push(readCwtClaims(claims));
  if (signers.length > 0) return signers;
  throw new CvmpError('MALFORMED', 'the signature does not say who signed', {
    field: 'corim.protected.corim-meta',
  });
}

function readMeta(value: CborValue): SignerStatement {
  const field = 'corim-meta';
  const decoded = value instanceof Uint8Array ? decodeManifest(value, field) : value;
  return readMap(decoded, field, (m) => {
    const signer = m.map(0, 'signer', (s) => {
      const read = {
        name: s.text(0, 'signer-name', nameRule),
        uri: s.optional(1, () => readUri(s.value(1, 'signer-uri'), s.path('signer-uri'))),
      };
      s.extensions();
      return read;
    });
    const validity = m.optional(1, () =>
      readValidity(m.value(1, 'signature-validity'), m.path('signature-validity')),
    );
    return { ...signer, validity };
  });
}

/** iss, exp and nbf (RFC 8392 s.3.1); other claims are read over. */
function readCwtClaims(value: CborValue): SignerStatement {
  const field = 'cwt-claims';
  const claims = asMap(value, field);
  const time = (key: number, name: string) =>
    claims.has(key) ? asInteger(claims.get(key), `${field}.${name}`) * 1000 : undefined;
  const [notAfter, notBefore] = [time(4, 'exp'), time(5, 'nbf')];
  return {
    name: asText(claims.get(1), `${field}.iss`, nameRule),
    uri: undefined,
    validity:
      notAfter === undefined && notBefore === undefined
        ? undefined
        : { notBefore, notAfter: notAfter ?? Number.MAX_SAFE_INTEGER },
  };
}

/** The x5chain header (RFC 9360), leaf first; undefined where there is none. */
export function chainOf({ headers }: CoseSign1): readonly Uint8Array[] | undefined {
  const value = headerOf(headers, label.x5chain);
  if (value === undefined) return undefined;
  const list = Array.isArray(value) ? (value as readonly CborValue[]) : [value];
  if (list.length === 0 || list.length > 8 || !list.every((one) => one instanceof Uint8Array)) {
    throw new CvmpError('MALFORMED', 'x5chain is no list of 1 to 8 certificates', {
      field: 'x5chain',
    });
  }
  return list as readonly Uint8Array[];
}
