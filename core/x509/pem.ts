import { fromUtf8 } from '../bytes.js';
import { CvmpError } from '../errors.js';

/** One PEM block (RFC 7468). */
export interface PemBlock {
  /** `CERTIFICATE`, `X509 CRL` ... */
  readonly label: string;
  readonly der: Uint8Array;
}

const begin = '-----BEGIN ';
const boundaryLine = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----$/;
/** More blocks than this in one file are refused. */
const blocksMax = 64;

/** Whether a file starts as PEM does (DER starts with 0x30). */
export function looksLikePem(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, 4096);
  let text = '';
  for (const octet of head) text += String.fromCharCode(octet);
  return text.includes(begin);
}

/**
 * Reads all blocks of a PEM text (RFC 7468 s.3, strict but for line length): matching labels,
 * base64 with correct padding, nothing between the blocks but blank lines.
 * @throws CvmpError MALFORMED, SIZE
 */
export function parsePem(bytes: Uint8Array, path = 'PEM'): readonly PemBlock[] {
  const lines = fromUtf8(bytes, path).split(/\r?\n/);
  const blocks: PemBlock[] = [];
  let label: string | undefined;
  let body = '';
  for (const [index, line] of lines.entries()) {
    const refuse = (why: string) =>
      new CvmpError('MALFORMED', `${path}, line ${index + 1}: ${why}`, { field: path });
    const text = line.trimEnd();
    const boundary = text.startsWith('-----') ? boundaryLine.exec(text) : null;
    if (boundary === null) {
      if (label !== undefined) body += text;
      else if (text !== '') throw refuse('text outside of a block');
    } else if (boundary[1] === 'BEGIN') {
      if (label !== undefined) throw refuse(`${label} does not end`);
      label = boundary[2];
      body = '';
    } else {
      if (label === undefined || label !== boundary[2]) throw refuse('an end without its begin');
      if (blocks.length === blocksMax) {
        throw new CvmpError('SIZE', `${path} has more than ${blocksMax} blocks`, { field: path });
      }
      const der = fromBase64(body);
      if (der === undefined) throw refuse(`${label} is not base64`);
      blocks.push({ label, der });
      label = undefined;
    }
  }
  if (label !== undefined) {
    throw new CvmpError('MALFORMED', `${path}: ${label} does not end`, { field: path });
  }
  return blocks;
}

/** Value of each base64 character by its code; above 63 for all others. */
const sextets = new Uint8Array(256).fill(255);
for (const [value, char] of [
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
].entries()) {
  sextets[char.charCodeAt(0)] = value;
}

/**
 * Base64 with padding (RFC 4648 s.4), or undefined where it is not exactly that: unused bits are
 * zero, so that no two texts are the same bytes.
 */
function fromBase64(text: string): Uint8Array | undefined {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  if (text.length % 4 !== 0) return undefined;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  const digits = text.length - padding;
  const sextet = (at: number) => (at < digits ? (sextets[text.charCodeAt(at)] ?? 255) : 0);
  for (let i = 0, at = 0; i < digits; i += 4) {
    const [a, b, c, d] = [sextet(i), sextet(i + 1), sextet(i + 2), sextet(i + 3)];
    if ((a | b | c | d) > 63) return undefined;
    // What does not fit any more is of the padding, or a bit that nobody uses.
    out[at++] = (a << 2) | (b >> 4);
    out[at++] = (b << 4) | (c >> 2);
    out[at++] = (c << 6) | d;
    if (i + 4 >= digits) {
      const unused = padding === 2 ? b & 15 : padding === 1 ? c & 3 : 0;
      if (unused !== 0) return undefined;
    }
  }
  return out;
}

/** One PEM block with 64-character lines. */
export function toPem(label: string, der: Uint8Array): string {
  let binary = '';
  for (const octet of der) binary += String.fromCharCode(octet);
  const lines = btoa(binary).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/**
 * The structures in a file that is either one DER structure or PEM blocks of this label.
 * @throws CvmpError MALFORMED (also where a block has another label), SIZE
 */
export function readDerOrPem(bytes: Uint8Array, label: string, path: string): Uint8Array[] {
  if (!looksLikePem(bytes)) return [bytes];
  return parsePem(bytes, path).map((block) => {
    if (block.label === label) return block.der;
    throw new CvmpError('MALFORMED', `${path} has a ${block.label}, not a ${label}`, {
      field: path,
    });
  });
}
