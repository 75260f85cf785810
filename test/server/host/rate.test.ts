import { describe, expect, test } from 'vitest';
import { networkOf, RateByAddress } from '#server/host/grpc/rate.js';

describe('rate by peer address', () => {
  test('so many at once, then one each part of a minute; each address by itself', () => {
    let now = 0;
    const rate = new RateByAddress({ perMinuteMax: 6, addressesMax: 10 }, () => now);
    const taken = (address: string, times: number) =>
      Array.from({ length: times }, () => rate.take(address)).filter(Boolean).length;
    expect(taken('192.0.2.1', 10)).toBe(6);
    expect(taken('192.0.2.2', 10)).toBe(6);
    now = 9_999;
    expect(taken('192.0.2.1', 1)).toBe(0);
    now = 10_001;
    expect(taken('192.0.2.1', 5)).toBe(1);
    now = 3_600_000;
    expect(taken('192.0.2.1', 10)).toBe(6);
    now = 0;
    expect(taken('192.0.2.1', 1)).toBe(0);
  });

  test('addresses are forgotten, longest ago first', () => {
    const rate = new RateByAddress({ perMinuteMax: 1, addressesMax: 2 }, () => 0);
    expect(['a', 'b', 'a', 'c'].map((address) => rate.take(address))).toEqual([
      true,
      true,
      false,
      true,
    ]);
    // b went, a stayed.
    expect(rate.take('a')).toBe(false);
    expect(rate.take('b')).toBe(true);
  });

  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['undefined', 'undefined'],
  ])('%s is of %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
