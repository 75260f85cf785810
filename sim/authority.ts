import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { isProduct, type SnpProduct, type SnpTcb } from '#core/snp/product.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import {
  authorityExtensions,
  type CertificateContent,
  type CrlContent,
  endorsementExtensions,
  type Issuer,
  issueCertificate,
  issueCrl,
  p384Spki,
  rsaSpki,
  simulatedName,
} from './certificates.js';

const generate = promisify(generateKeyPair);

/** Serial numbers, as AMD's of the same role: ARK, ASK, ASVK; endorsement keys have 0. */
const serials = {
  ark: Uint8Array.of(0x7f, 0, 0),
  ask: Uint8Array.of(0x7f, 0, 1),
  asvk: Uint8Array.of(0x7f, 1, 1),
  endorsementKey: Uint8Array.of(0),
} as const;

const day = 24 * 3600 * 1000;
const authorityYears = 25;
const endorsementYears = 7;
const years = (n: number) => Math.round(n * 365.25 * day);

interface State {
  readonly product: SnpProduct;
  readonly arkKey: Uint8Array;
  readonly askKey: Uint8Array;
  readonly arkCertificate: Uint8Array;
  readonly askCertificate: Uint8Array;
  readonly asvkCertificate: Uint8Array;
}

/** What may differ from an ordinary endorsement key certificate, for hostile evidence in tests. */
export type CertificateOverrides = Partial<CertificateContent>;

/**
 * The vendor of simulated chips: ARK, ASK and ASVK of its own, in AMD's formats. It is trusted only
 * where a configuration pins {@link anchor}.
 */
export class SimulatedAuthority {
  readonly product: SnpProduct;
  /** DER. */
  readonly arkCertificate: Uint8Array;
  /** DER. */
  readonly askCertificate: Uint8Array;
  /** DER. */
  readonly asvkCertificate: Uint8Array;
  readonly #state: State;
  readonly ark: Issuer;
  readonly ask: Issuer;
  readonly asvk: Issuer;

  private constructor(state: State) {
    this.#state = state;
    this.product = state.product;
    this.arkCertificate = state.arkCertificate;
    this.askCertificate = state.askCertificate;
    this.asvkCertificate = state.asvkCertificate;
    this.ark = { key: privateKey(state.arkKey), name: simulatedName(`ARK-${state.product}`) };
    this.ask = { key: privateKey(state.askKey), name: simulatedName(`SEV-${state.product}`) };
    this.asvk = {
      key: this.ask.key,
      name: simulatedName(`SEV-VLEK-${state.product}`),
    };
  }

  /**
   * Makes a new vendor. Costs seconds (two RSA-4096 keys; ASK and ASVK share one): do it once and keep {@link export}.
   * @param now milliseconds since 1970
   */
  static async create(product: SnpProduct, now: number): Promise<SimulatedAuthority> {
    const [ark, ask] = await Promise.all([rsaKey(), rsaKey()]);
    const arkIssuer: Issuer = { key: ark, name: simulatedName(`ARK-${product}`) };
    const issue = (
      key: KeyObject,
      name: string,
      serial: Uint8Array,
      role: 'ARK' | 'ASK',
    ): Uint8Array =>
      issueCertificate(arkIssuer, {
        serial,
        subject: simulatedName(name),
        spki: rsaSpki(key),
        notBefore: now - day,
        notAfter: now + years(authorityYears),
        extensions: authorityExtensions(role),
      });
    return new SimulatedAuthority({
      product,
      arkKey: pkcs8(ark),
      askKey: pkcs8(ask),
      arkCertificate: issue(ark, `ARK-${product}`, serials.ark, 'ARK'),
      askCertificate: issue(ask, `SEV-${product}`, serials.ask, 'ASK'),
      asvkCertificate: issue(ask, `SEV-VLEK-${product}`, serials.asvk, 'ASK'),
    });
  }

  /** @param exported from {@link export} @throws CvmpError MALFORMED, NOT_CANONICAL */
  static restore(exported: Uint8Array): SimulatedAuthority {
    return decodeMap(exported, 'authority', (m) => {
      const product = m.text(1, 'product');
      if (!isProduct(product)) throw new CvmpError('MALFORMED', `unknown product ${product}`);
      return new SimulatedAuthority({
        product,
        arkKey: m.bytes(2, 'ark_key'),
        askKey: m.bytes(3, 'ask_key'),
        arkCertificate: m.bytes(4, 'ark_certificate'),
        askCertificate: m.bytes(5, 'ask_certificate'),
        asvkCertificate: m.bytes(6, 'asvk_certificate'),
      });
    });
  }

  /** Everything, private keys included, as deterministic CBOR. */
  export(): Uint8Array {
    const s = this.#state;
    return encode(
      new Map<number, CborValue>([
        [1, s.product],
        [2, s.arkKey],
        [3, s.askKey],
        [4, s.arkCertificate],
        [5, s.askCertificate],
        [6, s.asvkCertificate],
      ]),
    );
  }

  /** The root certificate, PEM. */
  get arkPem(): string {
    return toPem('CERTIFICATE', this.arkCertificate);
  }

  /** What a verifier must pin to admit evidence of these chips. */
  get anchor(): TrustAnchor {
    const spkiDigest = crypto.hash('sha256', rsaSpki(this.ark.key));
    return { format: 'snp', name: `simulated ARK-${this.product}`, spkiDigest };
  }

  /** A VCEK certificate; DER. @param point 97 bytes @param hwId 64 bytes, 8 for Turin */
  issueVcek(
    key: { readonly point: Uint8Array; readonly hwId: Uint8Array; readonly tcb: SnpTcb },
    now: number,
    overrides: CertificateOverrides = {},
  ): Uint8Array {
    const { product } = this;
    return issueCertificate(this.ask, {
      ...endorsementContent('SEV-VCEK', key.point, now),
      extensions: endorsementExtensions({ product, tcb: key.tcb, hwId: key.hwId }),
      ...overrides,
    });
  }

  /** A VLEK certificate; DER. */
  issueVlek(
    key: { readonly point: Uint8Array; readonly cspId: string; readonly tcb: SnpTcb },
    now: number,
    overrides: CertificateOverrides = {},
  ): Uint8Array {
    const { product } = this;
    return issueCertificate(this.asvk, {
      ...endorsementContent('SEV-VLEK', key.point, now),
      extensions: endorsementExtensions({ product, tcb: key.tcb, cspId: key.cspId }),
      ...overrides,
    });
  }

  /** A revocation list of the ARK; DER. @param overrides for hostile lists in tests */
  issueCrl(
    now: number,
    revoked: readonly ('ask' | 'asvk')[] = [],
    validity: number = 30 * day,
    overrides: Partial<CrlContent> = {},
  ): Uint8Array {
    return issueCrl(this.ark, {
      number: 1,
      thisUpdate: now,
      nextUpdate: now + validity,
      revokedSerials: revoked.map((role) => serials[role]),
      ...overrides,
    });
  }
}

function endorsementContent(name: string, point: Uint8Array, now: number): CertificateContent {
  return {
    serial: serials.endorsementKey,
    subject: simulatedName(name),
    spki: p384Spki(point),
    notBefore: now - day,
    notAfter: now + years(endorsementYears),
    extensions: [],
  };
}

async function rsaKey(): Promise<KeyObject> {
  return (await generate('rsa', { modulusLength: 4096 })).privateKey;
}

function pkcs8(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }));
}

function privateKey(bytes: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(bytes), format: 'der', type: 'pkcs8' });
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'a key of the simulated authority does not parse', { cause });
  }
}
