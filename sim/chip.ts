import { createECDH, createPrivateKey } from 'node:crypto';
import { concat, toBase64Url, utf8 } from '#core/bytes.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { hkdfExpand } from '#core/hkdf.js';
import { type CertTableEntry, encodeCertTable } from '#core/snp/endorsement/cert-table.js';
import {
  type Cpuid,
  encodeTcb,
  products,
  type SnpProduct,
  type SnpTcb,
} from '#core/snp/product.js';
import { crypto } from '#crypto';
import type { SimulatedAuthority } from './authority.js';

/** Bytes of a chip's secret. */
export const chipSecretLength = 32;

/** Processor that each product stands for. */
export const productCpuid: Readonly<Record<SnpProduct, Cpuid>> = {
  Milan: { family: 0x19, model: 0x01, stepping: 1 },
  Genoa: { family: 0x19, model: 0x11, stepping: 1 },
  Turin: { family: 0x1a, model: 0x02, stepping: 1 },
};

/** TCB that a new chip starts with. */
export const productTcb: Readonly<Record<SnpProduct, SnpTcb>> = {
  Milan: { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 },
  Genoa: { fmc: 0, bootloader: 10, tee: 0, snp: 24, microcode: 84 },
  Turin: { fmc: 1, bootloader: 1, tee: 1, snp: 4, microcode: 81 },
};

/** A key that signs reports, and the certificates that vouch for it. */
export interface EndorsementKey {
  readonly key: EcPrivateKey;
  readonly certTable: Uint8Array;
}

/**
 * One simulated chip. As in hardware, its id and its signing keys follow from a secret: the VCEK from
 * the secret and the TCB, so that a chip at another TCB signs with another key.
 */
export class SimulatedChip {
  readonly authority: SimulatedAuthority;
  /** hwID: 64 bytes, 8 for Turin. */
  readonly hwId: Uint8Array;
  /** CHIP_ID of reports: hwID and zeros, 64 bytes. */
  readonly chipId: Uint8Array;
  readonly #secret: Uint8Array;
  readonly #now: () => number;
  readonly #keys = new Map<string, Promise<EndorsementKey>>();

  /** @param secret 32 bytes @param now milliseconds since 1970, for the dates of certificates */
  constructor(authority: SimulatedAuthority, secret: Uint8Array, now: () => number) {
    if (secret.length !== chipSecretLength) throw new TypeError('a chip secret has 32 bytes');
    this.authority = authority;
    this.#secret = secret;
    this.#now = now;
    const { hwidLength } = products[authority.product];
    this.hwId = hkdfExpand('sha384', secret, utf8('CVMP simulated chip id'), hwidLength);
    this.chipId = concat(this.hwId, new Uint8Array(64 - hwidLength));
  }

  get product(): SnpProduct {
    return this.authority.product;
  }

  /** The VCEK of this TCB with its certificate table (VCEK, ASK, ARK). */
  vcek(tcb: SnpTcb): Promise<EndorsementKey> {
    return this.#once(`vcek ${JSON.stringify(tcb)}`, async () => {
      const key = await this.#derive('VCEK', tcb);
      const { authority, hwId } = this;
      const leaf = authority.issueVcek({ point: key.publicPoint, hwId, tcb }, this.#now());
      return this.#endorsed(key, [
        { kind: 'VCEK', data: leaf },
        { kind: 'ASK', data: authority.askCertificate },
      ]);
    });
  }

  /** The VLEK that a cloud provider loaded at this TCB, with its table (VLEK, ASVK, ARK). */
  vlek(tcb: SnpTcb, cspId: string): Promise<EndorsementKey> {
    return this.#once(`vlek ${cspId} ${JSON.stringify(tcb)}`, async () => {
      const key = await this.#derive(`VLEK ${cspId}`, tcb);
      const { authority } = this;
      const leaf = authority.issueVlek({ point: key.publicPoint, cspId, tcb }, this.#now());
      return this.#endorsed(key, [
        { kind: 'VLEK', data: leaf },
        { kind: 'ASK', data: authority.asvkCertificate },
      ]);
    });
  }

  #endorsed(key: EcPrivateKey, chain: readonly CertTableEntry[]): EndorsementKey {
    const root: CertTableEntry = { kind: 'ARK', data: this.authority.arkCertificate };
    return { key, certTable: encodeCertTable([...chain, root]) };
  }

  #once(name: string, make: () => Promise<EndorsementKey>): Promise<EndorsementKey> {
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const made = make();
    this.#keys.set(name, made);
    return made;
  }

  async #derive(label: string, tcb: SnpTcb): Promise<EcPrivateKey> {
    const info = concat(utf8(`CVMP simulated ${label} `), encodeTcb(this.product, tcb));
    // Below the order of P-384 but for one in 2^190.
    return p384Key(hkdfExpand('sha384', this.#secret, info, 48));
  }
}

/** The P-384 key of this secret scalar (48 bytes). */
async function p384Key(scalar: Uint8Array): Promise<EcPrivateKey> {
  const pair = createECDH('secp384r1');
  pair.setPrivateKey(scalar);
  const point = new Uint8Array(pair.getPublicKey());
  const jwk = {
    kty: 'EC',
    crv: 'P-384',
    d: toBase64Url(scalar),
    x: toBase64Url(point.subarray(1, 49)),
    y: toBase64Url(point.subarray(49)),
  };
  const key = createPrivateKey({ key: jwk, format: 'jwk' });
  return crypto.importEcKey(new Uint8Array(key.export({ format: 'der', type: 'pkcs8' })));
}
