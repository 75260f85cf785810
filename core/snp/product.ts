import { isZero } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { cpuidVersion, reportVersionMin } from './layout.js';

/** Lines of AMD EPYC processors whose reports CVMP verifies. */
export type SnpProduct = 'Milan' | 'Genoa' | 'Turin';

/**
 * Components of a TCB_VERSION, 0 to 255 each. Always compared one by one: as one integer, a value of
 * one layout compares with another layout to nonsense that passes.
 */
export interface SnpTcb {
  /** Turin and later; 0 before. */
  readonly fmc: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

export const tcbComponents = ['fmc', 'bootloader', 'tee', 'snp', 'microcode'] as const;

type Layout = Readonly<Partial<Record<keyof SnpTcb, number>>>;

interface ProductRow {
  /** Byte of each component in TCB_VERSION; the other bytes are reserved. */
  readonly tcbBytes: Layout;
  /** structVersion of its VCEK certificates. */
  readonly structVersion: number;
  /** Bytes of the hwID extension; CHIP_ID is hwID and zeros. */
  readonly hwidLength: number;
  /** Lowest report version that its firmware writes. */
  readonly reportVersionMin: number;
  /** Extended CPUID family, and the models of that family. */
  readonly family: number;
  readonly models: readonly (readonly [first: number, last: number])[];
}

const beforeTurin: Layout = { bootloader: 0, tee: 1, snp: 6, microcode: 7 };

/**
 * All that is known about each product. Siena (family 19h models A0h-AFh) and Bergamo are of the
 * Genoa line: their certificates say Genoa. Venice is left out until its layout is published.
 */
export const products: Readonly<Record<SnpProduct, ProductRow>> = {
  Milan: {
    tcbBytes: beforeTurin,
    structVersion: 0,
    hwidLength: 64,
    reportVersionMin,
    family: 0x19,
    models: [[0x00, 0x0f]],
  },
  Genoa: {
    tcbBytes: beforeTurin,
    structVersion: 0,
    hwidLength: 64,
    reportVersionMin,
    family: 0x19,
    models: [
      [0x10, 0x1f],
      [0xa0, 0xaf],
    ],
  },
  Turin: {
    tcbBytes: { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 },
    structVersion: 1,
    hwidLength: 8,
    reportVersionMin: cpuidVersion,
    family: 0x1a,
    models: [[0x00, 0x11]],
  },
};

export const productNames = Object.keys(products) as readonly SnpProduct[];

export function isProduct(name: string): name is SnpProduct {
  return Object.hasOwn(products, name);
}

/** The product of a productName: `Milan-B0` in a VCEK, `Milan` in a VLEK; undefined: unknown. */
export function productNamed(productName: string): SnpProduct | undefined {
  const name = productName.replace(/-[A-Z][0-9]$/, '');
  return isProduct(name) ? name : undefined;
}

/** CPUID of the processor, as a report of version 3 or later states it. */
export interface Cpuid {
  /** Extended family: 0x19, 0x1a. */
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
}

/** The product that a processor is of, or undefined. */
export function productOf({ family, model }: Cpuid): SnpProduct | undefined {
  return productNames.find((name) => {
    const row = products[name];
    const isModel = row.models.some(([first, last]) => model >= first && model <= last);
    return row.family === family && isModel;
  });
}

/**
 * Decodes a TCB_VERSION (8 bytes) by the layout of the product.
 * @throws CvmpError MALFORMED where a reserved byte is not zero
 */
export function decodeTcb(product: SnpProduct, bytes: Uint8Array, field: string): SnpTcb {
  const { tcbBytes } = products[product];
  const rest = new Uint8Array(bytes);
  const component = (name: keyof SnpTcb): number => {
    const at = tcbBytes[name];
    if (at === undefined) return 0;
    rest[at] = 0;
    return bytes[at]!;
  };
  const tcb = {
    fmc: component('fmc'),
    bootloader: component('bootloader'),
    tee: component('tee'),
    snp: component('snp'),
    microcode: component('microcode'),
  };
  if (!isZero(rest)) {
    throw new CvmpError('MALFORMED', `reserved bytes of ${field} are not zero`, { field });
  }
  return tcb;
}

/** Encodes a TCB_VERSION, 8 bytes. */
export function encodeTcb(product: SnpProduct, tcb: SnpTcb): Uint8Array {
  const out = new Uint8Array(8);
  const { tcbBytes } = products[product];
  for (const name of tcbComponents) {
    const at = tcbBytes[name];
    if (at === undefined && tcb[name] !== 0) throw new TypeError(`${product} has no ${name}`);
    if (at !== undefined) out[at] = tcb[name];
  }
  return out;
}

/** First component of `tcb` that is below `floor`, or undefined. */
export function belowFloor(tcb: SnpTcb, floor: SnpTcb): keyof SnpTcb | undefined {
  return tcbComponents.find((name) => tcb[name] < floor[name]);
}

/** First component that differs, or undefined. */
export function differingComponent(a: SnpTcb, b: SnpTcb): keyof SnpTcb | undefined {
  return tcbComponents.find((name) => a[name] !== b[name]);
}

export function formatTcb(tcb: SnpTcb): string {
  return tcbComponents.map((name) => `${name} ${tcb[name]}`).join(', ');
}
