import { toHex } from '#core/bytes.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { crypto } from '#crypto';
import type { Tree } from '../tree.js';

const time = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');

/** What a certificate says of itself. */
export function certificateTree(der: Uint8Array): Tree {
  const certificate = parseCertificate(der);
  return {
    subject: certificate.subject.text,
    issuer: certificate.issuer.text,
    not_before: time(certificate.notBefore),
    not_after: time(certificate.notAfter),
    sha256: toHex(crypto.hash('sha256', der)),
  };
}

/** What a revocation list says of itself. */
export function crlTree(der: Uint8Array): Tree {
  const list = parseCertificateList(der, 'crl');
  return {
    issuer: list.issuer.text,
    this_update: time(list.thisUpdate),
    next_update: time(list.nextUpdate),
    revoked: list.revoked.size,
  };
}
