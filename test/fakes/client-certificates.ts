import { X509Certificate } from 'node:crypto';
import { element, oid, sequence } from '#core/asn1/write.js';
import { utf8 } from '#core/bytes.js';
import { type EcPrivateKey, ecSpki } from '#core/crypto.js';
import {
  basicConstraints,
  distinguishedName,
  extension,
  issueCertificate,
  keyUsage,
} from '#core/x509/issue.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';

const purposes = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' } as const;

/** A certificate with its key, or an authority. */
export interface Issued {
  readonly name: string;
  readonly key: EcPrivateKey;
  readonly der: Uint8Array;
  readonly x509: X509Certificate;
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly keyPem: string;
}

export interface IssueOptions {
  readonly name?: string;
  /** undefined: signs itself. */
  readonly by?: Issued;
  readonly ca?: boolean;
  /** undefined: no extendedKeyUsage. */
  readonly purpose?: keyof typeof purposes | undefined;
  /** "DNS:..." and "URI:..." */
  readonly names?: readonly string[];
  /** Milliseconds since the epoch. */
  readonly from?: number;
  readonly to?: number;
}

function alternativeName(name: string): Uint8Array {
  const [kind, ...rest] = name.split(':');
  return element(kind === 'DNS' ? 0x82 : 0x86, utf8(rest.join(':')));
}

/** Issues a certificate of P-256. */
export async function issue(options: IssueOptions = {}): Promise<Issued> {
  const { by, ca = false, names = [], name = ca ? 'authority' : 'client' } = options;
  const purpose = 'purpose' in options ? options.purpose : ca ? undefined : 'client';
  const key = await crypto.generateEcKey('P-256');
  const signer = by?.key ?? key;
  const subject = distinguishedName([['CN', name]]);
  const der = await issueCertificate(
    {
      serial: crypto.randomBytes(8).map((octet, i) => (i === 0 ? (octet & 0x7f) | 1 : octet)),
      issuer: by === undefined ? subject : distinguishedName([['CN', by.name]]),
      subject,
      notBefore: options.from ?? Date.UTC(2020, 0, 1),
      notAfter: options.to ?? Date.UTC(2040, 0, 1),
      spki: ecSpki('P-256', key.publicPoint),
      extensions: [
        basicConstraints(ca),
        keyUsage(ca ? 'keyCertSign' : 'digitalSignature'),
        ...(purpose === undefined
          ? []
          : [extension('2.5.29.37', false, sequence(oid(purposes[purpose])))]),
        ...(names.length === 0
          ? []
          : [extension('2.5.29.17', false, sequence(...names.map(alternativeName)))]),
      ],
    },
    { algorithm: 'ES256', sign: (tbs) => crypto.sign(signer, tbs) },
  );
  return {
    name,
    key,
    der,
    x509: new X509Certificate(der),
    certificate: toPem('CERTIFICATE', der),
    keyPem: toPem('PRIVATE KEY', await crypto.exportEcKey(key)),
  };
}
