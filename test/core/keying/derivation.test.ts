import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { deriveSecurityKey, keyCheckValue } from '#core/keying/derivation.js';
import { decodeKeyRecord, encodeKeyRecord, type KeyRecord } from '#core/keying/key-record.js';
import { refusalOf } from '../../refusal.js';
import { madeRecord } from './made.js';

const rootKey = new Uint8Array(32).map((_, i) => i);
const context = {
  tenantId: 'acme',
  keyId: new Uint8Array(16).fill(7),
  epoch: 1,
  purpose: 'disk' as const,
  appContext: new Uint8Array([1, 2]),
  length: 32,
};

describe('the Security Key (protocol.md s.6.3)', () => {
  it('is HKDF-Expand of the root key over its whole context', () => {
    const info = encode(['CVMP/1 SK', 'acme', context.keyId, 1, 1, context.appContext, 3, 32]);
    const expected = createHmac('sha256', rootKey).update(info).update(Uint8Array.of(1)).digest();
    expect(toHex(deriveSecurityKey(rootKey, context, 3))).toBe(expected.toString('hex'));
  });

  it('a recorded value stays what it is (I6)', () => {
    const key = deriveSecurityKey(rootKey, context, 3);
    expect(toHex(key)).toBe('b0a1baf92b80c5da4f4312c910704ff62768fd6153fec20f1548c46b90cb2e3c');
    expect(toHex(keyCheckValue(key))).toBe('352fffac469cc5aa');
  });

  it.each([
    ['tenant', { tenantId: 'acne' }, 3],
    ['KeyID', { keyId: new Uint8Array(16).fill(8) }, 3],
    ['epoch', { epoch: 2 }, 3],
    ['purpose', { purpose: 'data' as const }, 3],
    ['application context', { appContext: new Uint8Array([1]) }, 3],
    ['length', { length: 33 }, 3],
    ['SVN', {}, 4],
  ])('another %s gives another key', (_, changes, svn) => {
    const other = deriveSecurityKey(rootKey, { ...context, ...changes }, svn);
    expect(toHex(other.slice(0, 32))).not.toBe(toHex(deriveSecurityKey(rootKey, context, 3)));
  });

  it.each([16, 32, 33, 64])('has the length asked for: %i bytes', (length) => {
    expect(deriveSecurityKey(rootKey, { ...context, length }, 1)).toHaveLength(length);
  });

  it('its check value is 8 bytes of an HMAC', () => {
    const expected = createHmac('sha256', rootKey).update('CVMP/1 kcv').digest().subarray(0, 8);
    expect(toHex(keyCheckValue(rootKey))).toBe(expected.toString('hex'));
  });
});

describe('a key record', () => {
  const text = fc.stringMatching(/^[a-z0-9]{1,63}$/);
  const record: fc.Arbitrary<KeyRecord> = fc
    .record({
      keyId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      tenantId: text,
      policyId: text,
      cvmName: text,
      purpose: fc.constantFrom('disk' as const, 'data' as const),
      length: fc.integer({ min: 16, max: 64 }),
      appContext: fc.uint8Array({ maxLength: 64 }),
      epoch: fc.integer({ min: 1, max: 2 ** 32 }),
      roots: fc.array(
        fc.record({
          epoch: fc.integer({ min: 1, max: 2 ** 32 }),
          wrapped: fc.uint8Array({ maxLength: 128 }),
          created: fc.maxSafeNat(),
          confirmed: fc.maxSafeNat(),
        }),
        { maxLength: 4 },
      ),
      svnFloor: fc.integer({ min: 1, max: 64 }),
      svnRetired: fc.integer({ min: 1, max: 64 }),
      state: fc.constantFrom(
        'pre-active',
        'active',
        'suspended',
        'destroy-pending',
        'destroyed' as const,
      ),
      revision: fc.integer({ min: 1 }),
      created: fc.maxSafeNat(),
      activated: fc.maxSafeNat(),
      stateSince: fc.maxSafeNat(),
      compromisedEpoch: fc.nat(),
      compromisedSince: fc.maxSafeNat(),
      agentsRetireEpochs: fc.boolean(),
      destruction: fc.option(
        fc.record({
          requested: fc.maxSafeNat(),
          due: fc.maxSafeNat(),
          orderDigest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
        }),
        { nil: undefined },
      ),
      released: fc.maxSafeNat(),
    })
    .map((r) => ({ ...r, svnRetired: Math.min(r.svnRetired, r.svnFloor) })) as never;

  it('decodes to what was encoded', () => {
    fc.assert(
      fc.property(record, (r) => {
        expect(decodeKeyRecord(encodeKeyRecord(r))).toEqual(r);
      }),
      { numRuns: 200 },
    );
  });

  it('every truncation is refused with a code', async () => {
    const bytes = encodeKeyRecord(madeRecord());
    for (let n = 0; n < bytes.length; n++) {
      expect(await refusalOf(() => decodeKeyRecord(bytes.subarray(0, n)))).not.toBe('accepted');
    }
  });

  it('a mark above the floor is not a record (I2)', async () => {
    const bytes = encodeKeyRecord(madeRecord({ svnFloor: 2, svnRetired: 3 }));
    expect(await refusalOf(() => decodeKeyRecord(bytes))).toBe('SIZE');
  });
});
