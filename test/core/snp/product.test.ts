import { describe, expect, it } from 'vitest';
import { fromHex } from '#core/bytes.js';
import {
  belowFloor,
  decodeTcb,
  differingComponent,
  encodeTcb,
  productNames,
  productOf,
  type SnpTcb,
  tcbComponents,
} from '#core/snp/product.js';
import { refusalOf } from '../../refusal.js';

describe('products and TCB_VERSION (SEV-SNP ABI s.2.2)', () => {
  it.each([
    [0x19, 0x01, 'Milan'],
    [0x19, 0x0f, 'Milan'],
    [0x19, 0x10, 'Genoa'],
    [0x19, 0x1f, 'Genoa'],
    [0x19, 0xa0, 'Genoa'],
    [0x19, 0xaf, 'Genoa'],
    [0x1a, 0x00, 'Turin'],
    [0x1a, 0x11, 'Turin'],
    [0x19, 0x20, undefined],
    [0x1a, 0x12, undefined],
    [0x1a, 0x50, undefined],
    [0x17, 0x31, undefined],
  ])('family 0x%s model 0x%s is %s', (family, model, product) => {
    expect(productOf({ family, model, stepping: 0 })).toBe(product);
  });

  const raw = fromHex('0102030405060708');

  it('each layout has its components at its own bytes', () => {
    expect(decodeTcb('Genoa', fromHex('0a00000000001754'), 'TCB')).toEqual({
      fmc: 0,
      bootloader: 0x0a,
      tee: 0,
      snp: 0x17,
      microcode: 0x54,
    });
    expect(decodeTcb('Turin', fromHex('0102030400000051'), 'TCB')).toEqual({
      fmc: 1,
      bootloader: 2,
      tee: 3,
      snp: 4,
      microcode: 0x51,
    });
  });

  it.each(productNames)('%s: reserved bytes must be zero', async (product) => {
    expect(await refusalOf(() => decodeTcb(product, raw, 'TCB'))).toBe('MALFORMED');
  });

  it.each(productNames)('%s: what is encoded is decoded again', (product) => {
    const tcb = { fmc: product === 'Turin' ? 9 : 0, bootloader: 1, tee: 2, snp: 3, microcode: 255 };
    expect(decodeTcb(product, encodeTcb(product, tcb), 'TCB')).toEqual(tcb);
  });

  it('TCBs are compared component by component', () => {
    const tcb: SnpTcb = { fmc: 5, bootloader: 5, tee: 5, snp: 5, microcode: 5 };
    for (const name of tcbComponents) {
      expect(belowFloor({ ...tcb, [name]: 4 }, tcb)).toBe(name);
      expect(belowFloor({ ...tcb, [name]: 255 }, tcb)).toBeUndefined();
      expect(differingComponent({ ...tcb, [name]: 6 }, tcb)).toBe(name);
    }
    // As one little-endian integer this would pass.
    expect(belowFloor({ ...tcb, snp: 4, microcode: 255 }, tcb)).toBe('snp');
  });
});
