import { type DerReader, derError, readDer } from '../../asn1/read.js';
import { tag } from '../../asn1/tags.js';
import { boolean, text, unsignedBytes, unsignedInteger } from '../../asn1/values.js';
import { CvmpError } from '../../errors.js';
import type { Certificate } from '../../x509/certificate.js';

/** The instance that Google made a key certificate for. */
export interface GoogleInstance {
  readonly zone: string;
  readonly projectNumber: bigint;
  readonly projectId: string;
  readonly instanceId: bigint;
  readonly instanceName: string;
  /** False on Google's own test machines. */
  readonly isProduction: boolean;
  readonly securityVersion: number;
}

/** 1.3.6.1.4.1.11129.2.1.21: cloud compute instance identifier. */
const instanceOid = '1.3.6.1.4.1.11129.2.1.21';
const path = 'cloud_compute_instance';

/** Whether a certificate names an instance of Google Cloud. */
export function hasGoogleInstance(certificate: Certificate): boolean {
  return certificate.extensions.has(instanceOid);
}

/**
 * Reads the instance identifier of an AK or EK certificate of Google Cloud.
 * @throws CvmpError CERT_EXTENSION_MISSING, MALFORMED, NOT_CANONICAL, SIZE
 */
export function readGoogleInstance(certificate: Certificate): GoogleInstance {
  const extension = certificate.extensions.get(instanceOid);
  if (extension === undefined) {
    throw new CvmpError('CERT_EXTENSION_MISSING', 'the certificate names no instance', {
      field: path,
    });
  }
  return readDer(extension.value, path, (reader) => {
    const instance = {
      zone: utf8Text(reader, 'zone'),
      projectNumber: uint64(reader, 'projectNumber'),
      projectId: utf8Text(reader, 'projectId'),
      instanceId: uint64(reader, 'instanceId'),
      instanceName: utf8Text(reader, 'instanceName'),
    };
    // [0] EXPLICIT SEQUENCE of [n] EXPLICIT properties; absent where nothing is said.
    const outer = reader.optionalExplicit(0, 'securityProperties');
    if (outer === undefined) return { ...instance, isProduction: false, securityVersion: 0 };
    const properties = readProperties(outer.sequence('list'));
    outer.end();
    return { ...instance, ...properties };
  });
}

/** Version is [0], production [1]; what else there is CVMP does not need. */
function readProperties(list: DerReader): Pick<GoogleInstance, 'isProduction' | 'securityVersion'> {
  const version = list.optionalExplicit(0, 'securityVersion');
  const securityVersion =
    version === undefined ? 0 : unsignedInteger(version.any('value'), 0xffff_ffff);
  version?.end();
  const production = list.optionalExplicit(1, 'isProduction');
  const isProduction = production !== undefined && boolean(production.any('value'));
  production?.end();
  while (!list.done) list.any('property');
  return { isProduction, securityVersion };
}

function utf8Text(reader: DerReader, name: string): string {
  return text(reader.element(tag.utf8String, name));
}

function uint64(reader: DerReader, name: string): bigint {
  const element = reader.any(name);
  const bytes = unsignedBytes(element);
  if (bytes.length > 8) throw derError('SIZE', element.path, 'is above 2^64');
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
