import { isIP } from 'node:net';
import { toHex } from '#core/bytes.js';
import { ecSpki } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import {
  basicConstraints,
  distinguishedName,
  issueCertificate,
  keyUsage,
  serverAuth,
  subjectAltName,
} from '#core/x509/issue.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import type { TlsIdentity } from './tls.js';

/** Clients trust this one certificate by file, so it lives long; it is replaced by replacing it. */
const validityMs = 10 * 365 * 24 * 3600 * 1000;
/** Clocks of clients may be behind. */
const backdateMs = 3600 * 1000;

/**
 * A fresh P-256 key with a certificate that it signed itself, for a server without a CA.
 * @param names host names and IP addresses that clients will use; the first is the subject
 * @throws CvmpError USAGE where there is none, or one is no name
 */
export async function selfSigned(names: readonly string[], now: number): Promise<TlsIdentity> {
  const [first] = names;
  if (first === undefined) throw new CvmpError('USAGE', 'a certificate needs at least one name');
  for (const name of names) {
    if (isIP(name) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(name)) {
      throw new CvmpError('USAGE', `${name} is neither a host name nor an IP address`);
    }
  }
  const key = await crypto.generateEcKey('P-256');
  // Unlike any other: of two roots with one name, TLS libraries look at the first only.
  const unique = toHex(crypto.randomBytes(4));
  const subject = distinguishedName([['CN', `${first.slice(0, 42)} self-signed ${unique}`]]);
  const certificate = await issueCertificate(
    {
      // The top bit stays clear: a positive number of 16 bytes.
      serial: crypto.randomBytes(16).map((octet, i) => (i === 0 ? (octet & 0x7f) | 1 : octet)),
      issuer: subject,
      subject,
      notBefore: now - backdateMs,
      notAfter: now + validityMs,
      spki: ecSpki('P-256', key.publicPoint),
      extensions: [
        basicConstraints(false),
        keyUsage('digitalSignature'),
        serverAuth(),
        subjectAltName(
          names.filter((name) => isIP(name) === 0),
          names.filter((name) => isIP(name) !== 0).map(ipBytes),
        ),
      ],
    },
    { algorithm: 'ES256', sign: (tbs) => crypto.sign(key, tbs) },
  );
  return {
    certificate: toPem('CERTIFICATE', certificate),
    key: toPem('PRIVATE KEY', await crypto.exportEcKey(key)),
  };
}

/** 4 or 16 bytes, network order. */
function ipBytes(address: string): Uint8Array {
  if (isIP(address) === 4) return Uint8Array.from(address.split('.').map(Number));
  // The URL parser expands every legal spelling to one; "::" stands for the zeros left out.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = new Array<string>(8 - left.length - right.length).fill('0');
  const groups = [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}
