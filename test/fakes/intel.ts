import * as der from '#core/asn1/write.js';
import { concat, fromHex, toHex, utf8 } from '#core/bytes.js';
import type { EcPrivateKey } from '#core/crypto.js';
import type { Endorsements, TrustAnchor } from '#core/rats/endorsements.js';
import { qeIdentityType, tcbInfoType } from '#core/tdx/endorsement/collateral.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import {
  type CertificateContent,
  type CrlContent,
  caExtensions,
  commonName,
  extension,
  issueCertificate,
  issueCrl,
  leafExtensions,
  spkiOf,
} from './certificates.js';

// Intel's hierarchy and a platform of it, in the true formats, with keys of its own: makes quotes
// and collateral of any content, so that each rule can be broken alone.

const zeros = (length: number) => new Uint8Array(length);
const zeroHex = (length: number) => '00'.repeat(length);
export const names = {
  root: commonName('Intel SGX Root CA'),
  ca: commonName('Intel SGX PCK Platform CA'),
  pck: commonName('Intel SGX PCK Certificate'),
  signer: commonName('Intel SGX TCB Signing'),
};

/** Time of evaluation inside of all that is made here. */
export const now = Date.parse('2026-06-01T00:00:00Z');
export const fmspc = fromHex('00906ea10000');
export const ppid = fromHex('00112233445566778899aabbccddeeff');
export const qeMrSigner = crypto.hash('sha256', utf8('quoting enclave'));

/** 16 component SVNs. */
export const components = (...first: readonly number[]): number[] =>
  Array.from({ length: 16 }, (_, i) => first[i] ?? 0);

export interface PckContent {
  readonly components?: readonly number[];
  readonly pceSvn?: number;
  readonly pceId?: Uint8Array;
  readonly fmspc?: Uint8Array;
  /** Members of the SGX extensions to leave out, by their last arc. */
  readonly without?: readonly number[];
}

const sgxOid = '1.2.840.113741.1.13.1';
const member = (arc: string, value: Uint8Array) => der.sequence(der.oid(`${sgxOid}.${arc}`), value);

export function sgxExtensions(content: PckContent = {}): Uint8Array {
  const svns = content.components ?? components(5, 5, 2, 2, 3, 1, 0, 3);
  const tcb = der.sequence(
    ...svns.map((svn, i) => member(`2.${i + 1}`, der.integer(svn))),
    member('2.17', der.integer(content.pceSvn ?? 13)),
    member('2.18', der.octetString(Uint8Array.from(svns))),
  );
  const members: [number, Uint8Array][] = [
    [1, member('1', der.octetString(ppid))],
    [2, member('2', tcb)],
    [3, member('3', der.octetString(content.pceId ?? zeros(2)))],
    [4, member('4', der.octetString(content.fmspc ?? fmspc))],
    [5, member('5', der.element(0x0a, Uint8Array.of(1)))],
    [6, member('6', der.octetString(zeros(16)))],
  ];
  const kept = members.filter(([arc]) => !content.without?.includes(arc));
  return extension(sgxOid, der.sequence(...kept.map(([, bytes]) => bytes)));
}

export type Json = Readonly<Record<string, unknown>>;

const tcbLevel = (
  status: string,
  sgx: number[],
  pceSvn: number,
  tdx: number[],
  more: Json = {},
) => ({
  tcb: {
    sgxtcbcomponents: sgx.map((svn) => ({ svn })),
    pcesvn: pceSvn,
    tdxtcbcomponents: tdx.map((svn) => ({ svn })),
  },
  tcbDate: '2025-01-01T00:00:00Z',
  tcbStatus: status,
  ...more,
});

export { tcbLevel };

export const isvLevel = (isvsvn: number, tcbStatus: string, more: Json = {}) => ({
  tcb: { isvsvn },
  tcbDate: '2025-01-01T00:00:00Z',
  tcbStatus,
  ...more,
});

/** TCB Info under which {@link FakeIntel.quote} is UpToDate. */
export function tcbInfo(change: Json = {}): Json {
  const module = {
    mrsigner: zeroHex(48),
    attributes: zeroHex(8),
    attributesMask: 'ff'.repeat(8),
  };
  const sgx = components(5, 5, 2, 2, 3, 1, 0, 3);
  return {
    id: 'TDX',
    version: 3,
    issueDate: '2026-01-01T00:00:00Z',
    nextUpdate: '2026-12-31T00:00:00Z',
    fmspc: toHex(fmspc).toUpperCase(),
    pceId: '0000',
    tcbType: 0,
    tcbEvaluationDataNumber: 17,
    tdxModule: module,
    tdxModuleIdentities: [
      {
        id: 'TDX_01',
        ...module,
        tcbLevels: [
          isvLevel(6, 'UpToDate'),
          isvLevel(2, 'OutOfDate', { tcbDate: '2023-01-01T00:00:00Z' }),
        ],
      },
    ],
    tcbLevels: [
      tcbLevel('UpToDate', sgx, 13, components(6, 0, 3)),
      tcbLevel('OutOfDate', sgx, 5, components(5, 0, 2), { advisoryIDs: ['INTEL-SA-00002'] }),
    ],
    ...change,
  };
}

export function qeIdentity(change: Json = {}): Json {
  return {
    id: 'TD_QE',
    version: 2,
    issueDate: '2026-01-01T00:00:00Z',
    nextUpdate: '2026-12-31T00:00:00Z',
    tcbEvaluationDataNumber: 17,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: toHex(qeMrSigner).toUpperCase(),
    isvprodid: 2,
    tcbLevels: [
      isvLevel(4, 'UpToDate'),
      isvLevel(2, 'OutOfDate', { tcbDate: '2023-01-01T00:00:00Z' }),
    ],
    ...change,
  };
}

/** What the TD report says; each field has a sound default. */
export interface TdContent {
  readonly teeTcbSvn?: Uint8Array;
  readonly mrSeam?: Uint8Array;
  readonly mrSignerSeam?: Uint8Array;
  readonly seamAttributes?: bigint;
  readonly tdAttributes?: bigint;
  readonly xfam?: bigint;
  readonly mrTd?: Uint8Array;
  readonly mrConfigId?: Uint8Array;
  readonly mrOwner?: Uint8Array;
  readonly mrOwnerConfig?: Uint8Array;
  readonly rtmr?: readonly Uint8Array[];
  readonly reportData?: Uint8Array;
  readonly teeTcbSvn2?: Uint8Array;
  readonly mrServiceTd?: Uint8Array;
}

export const svn = (...first: readonly number[]) => Uint8Array.from(components(...first));

const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const u32 = (value: number) => {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
};
const u64 = (value: bigint) => {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value, true);
  return out;
};
const padded = (bytes: Uint8Array, length: number) => concat(bytes, zeros(length - bytes.length));

export function tdReport(td: TdContent, version: 4 | 5): Uint8Array {
  const rtmr = [0, 1, 2, 3].map((i) => td.rtmr?.[i] ?? zeros(48));
  return concat(
    td.teeTcbSvn ?? svn(6, 1, 3),
    td.mrSeam ?? zeros(48),
    td.mrSignerSeam ?? zeros(48),
    u64(td.seamAttributes ?? 0n),
    u64(td.tdAttributes ?? 1n << 28n),
    u64(td.xfam ?? 0x602e7n),
    td.mrTd ?? crypto.hash('sha384', utf8('firmware')),
    td.mrConfigId ?? zeros(48),
    td.mrOwner ?? zeros(48),
    td.mrOwnerConfig ?? zeros(48),
    ...rtmr,
    padded(td.reportData ?? zeros(0), 64),
    ...(version === 5 ? [td.teeTcbSvn2 ?? svn(6, 1, 3), td.mrServiceTd ?? zeros(48)] : []),
  );
}

export interface QuoteContent {
  readonly version?: 4 | 5;
  readonly td?: TdContent;
  readonly qe?: {
    readonly attributes?: Uint8Array;
    readonly miscSelect?: Uint8Array;
    readonly mrSigner?: Uint8Array;
    readonly isvProdId?: number;
    readonly isvSvn?: number;
    /** First 32 bytes; otherwise the digest of attestation key and authentication data. */
    readonly bound?: Uint8Array;
    /** Last 32 bytes. */
    readonly rest?: Uint8Array;
  };
  /** Signs the QE report instead of the PCK. */
  readonly qeSigner?: EcPrivateKey;
  /** Signs the quote instead of the attestation key. */
  readonly signer?: EcPrivateKey;
  /** DER certificates, instead of the platform's. */
  readonly chain?: readonly Uint8Array[];
  readonly certificationType?: number;
  readonly certificationData?: Uint8Array;
}

/** The hierarchy, one platform, one attestation key. */
export class FakeIntel {
  readonly keys: Readonly<Record<'root' | 'ca' | 'pck' | 'signer' | 'attestation', EcPrivateKey>>;

  private constructor(keys: FakeIntel['keys']) {
    this.keys = keys;
  }

  static async create(): Promise<FakeIntel> {
    const key = () => crypto.generateEcKey('P-256');
    const [root, ca, pck, signer, attestation] = [key(), key(), key(), key(), key()];
    return new FakeIntel({
      root: await root,
      ca: await ca,
      pck: await pck,
      signer: await signer,
      attestation: await attestation,
    });
  }

  get anchor(): TrustAnchor {
    const spkiDigest = crypto.hash('sha256', spkiOf(this.keys.root));
    return { format: 'tdx', name: 'fake Intel root', spkiDigest };
  }

  readonly #issued = new Map<string, Promise<Uint8Array>>();

  /** The same bytes every time, but for those with a change. */
  certificate(
    role: 'root' | 'ca' | 'pck' | 'signer',
    change?: Partial<CertificateContent> & { readonly signedBy?: EcPrivateKey },
  ): Promise<Uint8Array> {
    if (change !== undefined) return this.#issue(role, change);
    const issued = this.#issued.get(role) ?? this.#issue(role, {});
    this.#issued.set(role, issued);
    return issued;
  }

  #issue(
    role: 'root' | 'ca' | 'pck' | 'signer',
    change: Partial<CertificateContent> & { readonly signedBy?: EcPrivateKey },
  ): Promise<Uint8Array> {
    const { root, ca } = this.keys;
    const rows = {
      root: { by: root, issuer: names.root, serial: 1, extensions: caExtensions(1) },
      ca: { by: root, issuer: names.root, serial: 2, extensions: caExtensions(0) },
      signer: { by: root, issuer: names.root, serial: 3, extensions: leafExtensions() },
      pck: {
        by: ca,
        issuer: names.ca,
        serial: 4,
        extensions: [...leafExtensions(), sgxExtensions()],
      },
    };
    const { by, issuer, serial, extensions } = rows[role];
    return issueCertificate(change.signedBy ?? by, {
      serial: Uint8Array.of(serial),
      issuer,
      subject: names[role],
      spki: spkiOf(this.keys[role]),
      extensions,
      ...change,
    });
  }

  async chain(pck: PckContent = {}): Promise<Uint8Array[]> {
    const extensions = [...leafExtensions(), sgxExtensions(pck)];
    return [
      await this.certificate('pck', { extensions }),
      await this.certificate('ca'),
      await this.certificate('root'),
    ];
  }

  crl(issuer: 'root' | 'ca', change: Partial<CrlContent> = {}): Promise<Uint8Array> {
    return issueCrl(this.keys[issuer], { issuer: names[issuer], ...change });
  }

  /** Intel's JSON with the signature over the exact text of the member. */
  async signed(memberName: string, value: Json, signer = this.keys.signer): Promise<Uint8Array> {
    const text = JSON.stringify(value);
    const signature = toHex(await crypto.sign(signer, utf8(text)));
    return utf8(`{"${memberName}":${text},"signature":"${signature}"}`);
  }

  /** All that is needed to verify; each part can be replaced. */
  async endorsements(
    change: {
      readonly tcbInfo?: Uint8Array;
      readonly qeIdentity?: Uint8Array;
      readonly signer?: Uint8Array;
      readonly rootCrl?: Uint8Array;
      readonly pckCrl?: Uint8Array;
    } = {},
  ): Promise<Endorsements> {
    const info = change.tcbInfo ?? (await this.signed('tcbInfo', tcbInfo()));
    const identity = change.qeIdentity ?? (await this.signed('enclaveIdentity', qeIdentity()));
    return {
      certificates: [
        change.signer ?? (await this.certificate('signer')),
        await this.certificate('root'),
      ],
      crls: [change.rootCrl ?? (await this.crl('root')), change.pckCrl ?? (await this.crl('ca'))],
      documents: [
        { mediaType: tcbInfoType, value: info },
        { mediaType: qeIdentityType, value: identity },
      ],
    };
  }

  async quote(content: QuoteContent = {}): Promise<Uint8Array> {
    const version = content.version ?? 4;
    const body = tdReport(content.td ?? {}, version);
    const signed = concat(
      u16(version),
      u16(2),
      u32(0x81),
      zeros(4),
      fromHex('939a7233f79c4ca9940a0db3957f0607'),
      zeros(20),
      ...(version === 5 ? [u16(3), u32(body.length)] : []),
      body,
    );
    const { attestation } = this.keys;
    const attestationKey = (content.signer ?? attestation).publicPoint.subarray(1);
    const auth = fromHex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f');
    const report = qeReport(content.qe ?? {}, crypto.hash('sha256', attestationKey, auth));
    const chain = content.chain ?? (await this.chain());
    const pem = utf8(chain.map((certificate) => toPem('CERTIFICATE', certificate)).join(''));
    const data = content.certificationData ?? concat(pem, zeros(1));
    const certification = concat(
      report,
      await crypto.sign(content.qeSigner ?? this.keys.pck, report),
      u16(auth.length),
      auth,
      u16(content.certificationType ?? 5),
      u32(data.length),
      data,
    );
    const signatureData = concat(
      await crypto.sign(content.signer ?? attestation, signed),
      attestationKey,
      u16(6),
      u32(certification.length),
      certification,
    );
    return concat(signed, u32(signatureData.length), signatureData);
  }
}

function qeReport(qe: NonNullable<QuoteContent['qe']>, bound: Uint8Array): Uint8Array {
  return concat(
    zeros(16),
    qe.miscSelect ?? zeros(4),
    zeros(28),
    qe.attributes ?? fromHex('1500000000000000e700000000000000'),
    zeros(32),
    zeros(32),
    qe.mrSigner ?? qeMrSigner,
    zeros(96),
    u16(qe.isvProdId ?? 2),
    u16(qe.isvSvn ?? 4),
    zeros(60),
    qe.bound ?? bound,
    qe.rest ?? zeros(32),
  );
}
