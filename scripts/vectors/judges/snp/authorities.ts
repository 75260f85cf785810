import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { signedBy, verifyChain } from '#core/x509/chain.js';
import { type CertificateList, parseCertificateList } from '#core/x509/crl.js';
import { sameName } from '#core/x509/name.js';
import { readDerOrPem } from '#core/x509/pem.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { certificateJson } from './fields.js';
import { certificatesIn, firstIn, realRoots, timeInside, verdict } from './verify.js';

/** Kind `amd-ca-chains`: certificates of the vendor's authorities and the bundles that it publishes. */
export async function judgeChains(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const cases: CaseVerdict[] = [];
  const products = new Set<string>();
  for (const [file, item] of Object.entries(asObject(folder.expected.certificates, 'certs'))) {
    const product = dirname(file);
    products.add(product);
    const certificate = firstIn(folder.read(file));
    const ark = firstIn(folder.read(join(product, 'ark.pem')));
    const underArk =
      sameName(certificate.issuer, ark.subject) && (await signedBy(certificate, ark));
    const found = { ...certificateJson(certificate), verifies_under_ark: underArk };
    cases.push(comparison(file, asObject(item, file), found));
  }
  for (const product of products) {
    for (const name of ['vcek_cert_chain.pem', 'vlek_cert_chain.pem']) {
      const file = join(product, name);
      if (folder.has(file)) cases.push(await judgeBundle(file, folder.read(file)));
    }
  }
  return cases;
}

/** A bundle is the intermediate, then the pinned root. */
async function judgeBundle(name: string, bytes: Uint8Array): Promise<CaseVerdict> {
  const ders = certificatesIn(bytes);
  const [intermediate, root] = ders.map((der) => parseCertificate(der));
  const expected = 'a chain of two under a pinned root';
  if (intermediate === undefined || root === undefined || ders.length !== 2) {
    return verdict(name, expected, `${ders.length} certificates`);
  }
  await verifyChain([intermediate, root], { at: timeInside(ders), algorithms: ['PS384'] });
  const { spki_sha256: digest } = certificateJson(root);
  const isPinned = realRoots.some(({ spkiDigest }) => toHex(spkiDigest) === digest);
  return verdict(name, expected, isPinned ? expected : 'a chain of two under another root');
}

/** Kind `amd-crls`: revocation lists, described in the words of the openssl command. */
export async function judgeCrls(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const cases: CaseVerdict[] = [];
  for (const [file, item] of Object.entries(asObject(folder.expected.crls, 'crls'))) {
    const wanted = asObject(item, file);
    const [der] = readDerOrPem(folder.read(file), 'X509 CRL', file);
    const crl = parseCertificateList(der!);
    const ark = authority(folder, crl, 'ark');
    const found: JsonObject = {
      ...openssl(crl),
      verifies_under_ark: ark !== undefined && (await signedBy(crl, ark)),
      revoked_serials: [...crl.revoked],
      chain_intermediates_in_this_set_revoked: ['ask', 'asvk'].some((role) => {
        const certificate = authority(folder, crl, role);
        return certificate !== undefined && crl.revoked.has(toHex(certificate.serial));
      }),
    };
    const lines = asList(wanted.openssl ?? [], 'openssl').map((line) => asString(line, 'line'));
    cases.push(comparison(file, { ...wanted, ...keyed(lines) }, found));
  }
  return cases;
}

/** `chains/<product>/<role>.pem` of the product that the issuer of the list names. */
function authority(
  folder: CaseFolder,
  crl: CertificateList,
  role: string,
): Certificate | undefined {
  const product = (crl.issuer.commonName ?? '').replace(/^ARK-/, '').toLowerCase();
  const path =
    folder.findUpwards(`chains/${product}/${role}.pem`) ??
    folder.findUpwards(`trust-anchors/${role}-${product}.pem`);
  return path === undefined ? undefined : firstIn(new Uint8Array(readFileSync(path)));
}

/** `lastUpdate=...` lines as an object; the issuer as a sorted list of its attributes. */
function keyed(lines: readonly string[]): JsonObject {
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf('=');
      const [key, value] = [line.slice(0, at), line.slice(at + 1)];
      if (key !== 'issuer') return [key, value];
      return [
        key,
        value
          .split(', ')
          .map((part) => part.replace(' = ', '='))
          .sort(),
      ];
    }),
  );
}

function openssl(crl: CertificateList): JsonObject {
  const instant = (at: number) => new Date(at).toISOString().replace('T', ' ').replace('.000', '');
  return {
    issuer: crl.issuer.text.split(',').sort(),
    lastUpdate: instant(crl.thisUpdate),
    nextUpdate: instant(crl.nextUpdate),
    crlNumber: `0x${toHex(crl.number ?? new Uint8Array())}`,
  };
}
