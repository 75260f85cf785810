import { type DerReader, derError, readDer } from '../../asn1/read.js';
import { tag } from '../../asn1/tags.js';
import { octetString, oid, unsignedInteger } from '../../asn1/values.js';
import { toHex } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import type { Certificate } from '../../x509/certificate.js';

/** What Intel says of a platform in the certificate of its Provisioning Certification Key. */
export interface PckPlatform {
  /** Platform provisioning id (16 bytes): names the platform. */
  readonly ppid: Uint8Array;
  /** The 16 SGX TCB component SVNs of the platform when the certificate was made. */
  readonly components: readonly number[];
  readonly pceSvn: number;
  /** 2 bytes. */
  readonly pceId: Uint8Array;
  /** Family, model, stepping, platform type, custom SKU (6 bytes): selects the TCB Info. */
  readonly fmspc: Uint8Array;
  /** 16 bytes, of platforms with more than one package; undefined where it is absent. */
  readonly platformInstanceId: Uint8Array | undefined;
}

/** Intel SGX PCK Certificate and CRL Profile s.1.3.5. */
const sgxExtension = '1.2.840.113741.1.13.1';
const memberOid = {
  ppid: `${sgxExtension}.1`,
  tcb: `${sgxExtension}.2`,
  pceId: `${sgxExtension}.3`,
  fmspc: `${sgxExtension}.4`,
  platformInstanceId: `${sgxExtension}.6`,
} as const;
const componentCount = 16;
const pceSvnMember = `${memberOid.tcb}.17`;
const membersMax = 32;

const field = 'pck.sgx_extensions';

/** Whether a certificate claims to be a PCK certificate. */
export function isPckCertificate(certificate: Certificate): boolean {
  return certificate.extensions.has(sgxExtension);
}

/** By certificate: the chain rules keep those of platforms that come again. */
const platforms = new WeakMap<Certificate, PckPlatform>();

/**
 * Reads the SGX extensions of a PCK certificate. Members that CVMP does not need are read over;
 * none may occur twice.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, CERT_EXTENSION_MISSING
 */
export function readPckPlatform(certificate: Certificate): PckPlatform {
  const known = platforms.get(certificate);
  if (known !== undefined) return known;
  const platform = read(certificate);
  platforms.set(certificate, platform);
  return platform;
}

function read(certificate: Certificate): PckPlatform {
  const extension = certificate.extensions.get(sgxExtension);
  if (extension === undefined) throw missing('SGX extensions');
  const members = readDer(extension.value, field, readMembers);
  const member = <T>(id: string, name: string, read: (reader: DerReader) => T): T => {
    const reader = members.get(id);
    if (reader === undefined) throw missing(name);
    const value = read(reader);
    reader.end();
    return value;
  };
  const fixed = (length: number) => (reader: DerReader) => fixedOctets(reader, length);
  const tcb = member(memberOid.tcb, 'TCB', (reader) => readMembers(reader.sequence('tcb')));
  const svn = (id: string, max: number): number => {
    const reader = tcb.get(id);
    if (reader === undefined) throw missing(id);
    const value = unsignedInteger(reader.any('svn'), max);
    reader.end();
    return value;
  };
  return {
    ppid: member(memberOid.ppid, 'PPID', fixed(16)),
    components: Array.from({ length: componentCount }, (_, i) =>
      svn(`${memberOid.tcb}.${i + 1}`, 255),
    ),
    pceSvn: svn(pceSvnMember, 0xffff),
    pceId: member(memberOid.pceId, 'PCE-ID', fixed(2)),
    fmspc: member(memberOid.fmspc, 'FMSPC', fixed(6)),
    platformInstanceId: members.has(memberOid.platformInstanceId)
      ? member(memberOid.platformInstanceId, 'platform instance id', fixed(16))
      : undefined,
  };
}

/** SEQUENCE OF { OBJECT IDENTIFIER, ANY }: readers that stand before each value. */
function readMembers(reader: DerReader): Map<string, DerReader> {
  const members = new Map<string, DerReader>();
  while (!reader.done) {
    const entry = reader.sequence('member');
    const id = oid(entry.element(tag.oid, 'id'));
    if (members.has(id)) throw derError('MALFORMED', reader.path, `has member ${id} twice`);
    if (members.size === membersMax) throw derError('SIZE', reader.path, 'has too many members');
    members.set(id, entry);
  }
  return members;
}

function fixedOctets(reader: DerReader, length: number): Uint8Array {
  const element = reader.any('value');
  const bytes = octetString(element);
  if (bytes.length !== length) {
    throw derError('MALFORMED', element.path, `is ${toHex(bytes)}, not ${length} bytes`);
  }
  return bytes;
}

function missing(name: string): CvmpError {
  return new CvmpError('CERT_EXTENSION_MISSING', `the PCK certificate lacks its ${name}`, {
    field,
  });
}
