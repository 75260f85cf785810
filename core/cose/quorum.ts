import { equalBytes, toHex } from '../bytes.js';
import type { CborMap } from '../cbor/value.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { label } from './headers.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from './key.js';
import { coseTag } from './message.js';
import { addSignature, type CoseSign, parseSign, sign, verifySignature } from './sign.js';
import { type CoseSign1, parseSign1, sign1, verifySign1 } from './sign1.js';

/** How many of whom must sign. */
export interface QuorumRule {
  /** Different public keys, at least `threshold` of them. */
  readonly signers: readonly EcPublicKey[];
  /** At least 1. */
  readonly threshold: number;
}

/** A payload that enough of the right people signed. */
export interface Quorum {
  readonly payload: Uint8Array;
  readonly headers: CborMap;
  /** Thumbprints of the rule's signers whose signatures hold, each once, in the rule's order. */
  readonly signers: readonly Uint8Array[];
  /** Thumbprints of signatures by others, which do not count and are not verified. */
  readonly unknown: readonly Uint8Array[];
}

/** A signed object, one signature or several, not yet verified. */
type Parsed =
  | { readonly kind: 'sign1'; readonly message: CoseSign1 }
  | { readonly kind: 'sign'; readonly message: CoseSign };

/** First bytes of tag 98 (RFC 8949 s.3.4), which tells a COSE_Sign from a COSE_Sign1. */
const isSign = (bytes: Uint8Array) => bytes[0] === 0xd8 && bytes[1] === coseTag.sign;

function parse(bytes: Uint8Array, typ: string): Parsed {
  return isSign(bytes)
    ? { kind: 'sign', message: parseSign(bytes, { typ }) }
    : { kind: 'sign1', message: parseSign1(bytes, { typ }) };
}

/**
 * The payload and the signers' thumbprints of a COSE_Sign1 or COSE_Sign, nothing of it verified.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL
 */
export function peekSigned(
  bytes: Uint8Array,
  typ: string,
): { readonly payload: Uint8Array; readonly signers: readonly Uint8Array[] } {
  const parsed = parse(bytes, typ);
  const { payload } = parsed.message;
  if (payload === null) throw new CvmpError('MALFORMED', 'the signed object has no payload');
  return { payload, signers: kidsOf(parsed) };
}

/** `kid` of each signature, in its protected bucket. */
function kidsOf(parsed: Parsed): readonly Uint8Array[] {
  const all =
    parsed.kind === 'sign'
      ? parsed.message.signatures.map(({ headers }) => headers)
      : [parsed.message.headers];
  return all.map((headers) => {
    const kid = headers.protected.get(label.kid);
    if (kid instanceof Uint8Array && kid.length === 32) return kid;
    throw new CvmpError('MALFORMED', 'a signature does not name its key by kid', { field: 'kid' });
  });
}

/**
 * Holds a signed object to m of n: a COSE_Sign1 has one signer, a COSE_Sign (RFC 9052 s.4.1)
 * several. A signer counts once; a signature by one of them that does not hold refuses the whole;
 * signatures by others neither count nor harm.
 * @param typ protected `typ` (RFC 9596) that it must have
 * @throws CvmpError QUORUM (naming who is unknown; SIGNATURE_INVALID where the rule has one signer),
 *   SIGNATURE_INVALID, MALFORMED, NOT_CANONICAL,
 *   SIZE, UNKNOWN_CRITICAL, UNSUPPORTED_ALGORITHM
 */
export async function demandQuorum(
  bytes: Uint8Array,
  typ: string,
  { signers, threshold }: QuorumRule,
): Promise<Quorum> {
  const parsed = parse(bytes, typ);
  const kids = kidsOf(parsed);
  const { payload } = parsed.message;
  if (payload === null) throw new CvmpError('MALFORMED', 'the signed object has no payload');
  const found: Uint8Array[] = [];
  for (const key of signers) {
    const print = thumbprint(key);
    const places = kids.flatMap((kid, i) => (equalBytes(kid, print) ? [i] : []));
    if (places.length === 0 || found.some((one) => equalBytes(one, print))) continue;
    for (const i of places) await verifyOne(parsed, i, key);
    found.push(print);
  }
  const unknown = kids.filter((kid) => !found.some((one) => equalBytes(one, kid)));
  if (found.length < threshold) {
    const others = unknown.map((kid) => toHex(kid)).join(', ');
    const who = unknown.length === 0 ? '' : `; signatures of no signer it names: ${others}`;
    const what = `signed by ${found.length} of the ${threshold} signers that are needed${who}`;
    // Of one signer there is no quorum: somebody else's signature is simply a wrong one.
    const code = signers.length === 1 ? 'SIGNATURE_INVALID' : 'QUORUM';
    throw new CvmpError(code, what, { field: 'signatures' });
  }
  return { payload, headers: parsed.message.headers.protected, signers: found, unknown };
}

async function verifyOne(parsed: Parsed, i: number, key: EcPublicKey): Promise<void> {
  if (parsed.kind === 'sign1') await verifySign1(parsed.message, key);
  else await verifySignature(parsed.message, parsed.message.signatures[i]!, key);
}

/**
 * Signs for a quorum: one key makes a COSE_Sign1, several a COSE_Sign; `kid` = thumbprint.
 * @throws TypeError where there is no key
 */
export function signTogether(
  keys: readonly EcPrivateKey[],
  typ: string,
  payload: Uint8Array,
): Promise<Uint8Array> {
  const [key, ...more] = keys;
  if (key === undefined) throw new TypeError('nobody signs');
  if (more.length > 0) return sign(keys, payload, new Map([[label.typ, typ]]));
  const kid = thumbprint(ecPublicKey(key.curve, key.publicPoint));
  const headers = new Map<number, Uint8Array | string>([
    [label.kid, kid],
    [label.typ, typ],
  ]);
  return sign1(key, payload, { protected: headers });
}

/**
 * One more signature on a signed object. The signature of a COSE_Sign1 is over other bytes than
 * those of a COSE_Sign, so who starts a quorum starts with {@link startTogether}.
 * @throws CvmpError MALFORMED where it is not a COSE_Sign of this type, ALREADY_EXISTS where this
 *   key has signed
 */
export async function signAlso(
  bytes: Uint8Array,
  typ: string,
  key: EcPrivateKey,
): Promise<Uint8Array> {
  const message = parseSign(bytes, { typ });
  const kid = thumbprint(ecPublicKey(key.curve, key.publicPoint));
  if (kidsOf({ kind: 'sign', message }).some((there) => equalBytes(there, kid))) {
    throw new CvmpError('ALREADY_EXISTS', `${toHex(kid)} has signed it already`);
  }
  return addSignature(message, key);
}

/** A COSE_Sign by the first of several signers; the others use {@link signAlso}. */
export function startTogether(
  key: EcPrivateKey,
  typ: string,
  payload: Uint8Array,
): Promise<Uint8Array> {
  return sign([key], payload, new Map([[label.typ, typ]]));
}
