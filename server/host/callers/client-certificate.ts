import { X509Certificate } from 'node:crypto';
import { equalBytes, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { Caller } from '../handlers.js';
import type { AuthenticatorOptions } from './authenticate.js';
import { type ClientCertificate, demandActive } from './tenant.js';
import { verbsOfScope } from './verbs.js';

/** id-kp-clientAuth (RFC 5280 s.4.2.1.12). */
const clientAuth = '1.3.6.1.5.5.7.3.2';

/**
 * The caller behind a client certificate. TLS has shown that the peer has its private key; nothing
 * else of it is believed before it is found among what the tenant registered: its own public key, or
 * an authority that signed it. The subject is never looked at.
 * @throws CvmpError CLIENT_CERTIFICATE, the same for a tenant that is not there; TENANT_SUSPENDED
 */
export async function certificateCaller(
  tenantId: string,
  certificate: X509Certificate | undefined,
  { tenants, now }: Pick<AuthenticatorOptions, 'tenants' | 'now'>,
): Promise<Caller> {
  if (certificate === undefined) throw refused('the connection has no client certificate');
  if (!isValidAt(certificate, now())) throw refused('the client certificate is not valid now');
  const purposes = certificate.keyUsage as readonly string[] | undefined;
  if (certificate.ca || (purposes !== undefined && !purposes.includes(clientAuth))) {
    throw refused('the client certificate is not one for TLS clients');
  }
  const tenant = await tenants.get(tenantId);
  const digest = spkiDigestOf(certificate);
  const admits = (one: ClientCertificate) =>
    (one.notAfter === undefined || now() < one.notAfter) &&
    (one.authority.length === 0
      ? equalBytes(one.spkiDigest, digest)
      : isSignedBy(certificate, one, purposes, now()));
  const found = tenant?.certificates.find(admits);
  if (tenant === undefined || found === undefined) {
    throw refused(`${toHex(digest)} does not speak for ${tenantId}`);
  }
  demandActive(tenant);
  const verbs = verbsOfScope('tenant', found.scope);
  const name = found.label === '' ? toHex(digest.slice(0, 8)) : found.label;
  return { role: 'tenant', tenantId, verbs, actor: `certificate ${name}` };
}

function isSignedBy(
  certificate: X509Certificate,
  { authority, names }: ClientCertificate,
  purposes: readonly string[] | undefined,
  now: number,
): boolean {
  const ca = new X509Certificate(authority);
  return (
    isValidAt(ca, now) &&
    certificate.checkIssued(ca) &&
    certificate.verify(ca.publicKey) &&
    // An authority signs for servers too; those certificates speak for nobody.
    purposes?.includes(clientAuth) === true &&
    (names.length === 0 || names.some((name) => alternativeNames(certificate).includes(name)))
  );
}

/** "DNS:..." and "URI:..."; what Node had to quote is left as it is and equals nothing. */
function alternativeNames({ subjectAltName }: X509Certificate): readonly string[] {
  return subjectAltName?.split(', ') ?? [];
}

/** SHA-256 of the SubjectPublicKeyInfo of a certificate. */
export function spkiDigestOf({ publicKey }: X509Certificate): Uint8Array {
  return crypto.hash('sha256', new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })));
}

function isValidAt({ validFrom, validTo }: X509Certificate, now: number): boolean {
  return Date.parse(validFrom) <= now && now <= Date.parse(validTo);
}

function refused(what: string): CvmpError {
  return new CvmpError('CLIENT_CERTIFICATE', what);
}
