import { describe, expect, test } from 'vitest';
import { nameOf } from '#server/key-server/endorsements/statements.js';
import type { FakeAnswer } from '../../../fakes/vendor-service.js';
import { endorsementsOf, FakeVendors, outcome, vcekOfAnother } from './vendors.js';

describe('what a vendor, or who speaks for it, may answer (fails closed)', () => {
  const cases: readonly (readonly [
    string,
    (v: FakeVendors) => FakeAnswer | Promise<FakeAnswer>,
    RegExp,
  ])[] = [
    ['404', () => ({ status: 404 }), /^ENDORSEMENT_UNAVAILABLE .* answered 404/],
    ['429', () => ({ status: 429 }), /^ENDORSEMENT_UNAVAILABLE .* answered 429/],
    ['500', () => ({ status: 500, body: 'oops' }), /^ENDORSEMENT_UNAVAILABLE .* answered 500/],
    [
      'a redirect, which is not followed',
      (v) => ({ status: 302, headers: { location: `${v.service.url}${v.chainPath}` } }),
      /^ENDORSEMENT_UNAVAILABLE .* answered 302/,
    ],
    ['nothing', () => ({ body: '' }), /^ENDORSEMENT_INVALID/],
    ['garbage', () => ({ body: '<html>maintenance</html>' }), /^ENDORSEMENT_INVALID/],
    [
      'less than it announces',
      async (v) => ({ body: await v.vcekDer(), truncated: true }),
      /^ENDORSEMENT_UNAVAILABLE/,
    ],
    [
      'a truncated certificate',
      async (v) => ({ body: (await v.vcekDer()).subarray(0, 700) }),
      /^ENDORSEMENT_INVALID/,
    ],
    [
      'more than is read',
      () => ({ body: new Uint8Array(2 * 1024 * 1024) }),
      /^ENDORSEMENT_INVALID .*longer than 1048576 bytes/,
    ],
    [
      'a compressed answer',
      async (v) => ({ body: await v.vcekDer(), headers: { 'content-encoding': 'gzip' } }),
      /^ENDORSEMENT_INVALID .*compressed/,
    ],
    [
      'the certificate of another chip',
      async () => ({ body: await vcekOfAnother() }),
      /^ENDORSEMENT_INVALID .*another chip/,
    ],
    [
      'one of its own making',
      async (v) => {
        const der = (await v.vcekDer()).slice();
        der[der.length - 1]! ^= 1;
        return { body: der };
      },
      /^ENDORSEMENT_INVALID .*not signed by/,
    ],
  ];

  test.each(cases)('a VCEK: %s', async (_what, answer, expected) => {
    const vendors = await FakeVendors.start();
    vendors.service.route(vendors.vcekPath, await answer(vendors));
    const open = await endorsementsOf(vendors);
    expect(await outcome(open, vendors.vcek)).toMatch(expected);
    expect((await open.folder.list()).map(({ name }) => name)).not.toContain(nameOf(vendors.vcek));
  });

  test.each([
    ['without the header of its chain', {}, /no header/],
    ['with a chain that is not URL-encoded', { 'TCB-Info-Issuer-Chain': '%zz' }, /URL-encoded/],
    ['with a chain that is no PEM', { 'TCB-Info-Issuer-Chain': 'x' }, /./],
  ])('TCB Info %s', async (_what, headers, expected) => {
    const vendors = await FakeVendors.start();
    const { body } = await vendors.tcbInfoAnswer();
    vendors.service.route(vendors.tcbInfoPath, { body: body!, headers });
    const open = await endorsementsOf(vendors);
    const got = await outcome(open, vendors.tcbInfo);
    expect(got).toMatch(/^ENDORSEMENT_INVALID/);
    expect(got).toMatch(expected);
  });

  test.each([
    ['of another platform family', { fmspc: '112233445566' }, /FMSPC/],
    ['of SGX', { id: 'SGX' }, /SGX/],
    ['that is out of date', { nextUpdate: '2026-05-01T00:00:00Z' }, /valid from/],
    ['that starts later', { issueDate: '2026-07-01T00:00:00Z' }, /valid from/],
  ])('TCB Info %s', async (_what, change, expected) => {
    const vendors = await FakeVendors.start();
    vendors.service.route(vendors.tcbInfoPath, await vendors.tcbInfoAnswer(change));
    const open = await endorsementsOf(vendors);
    const got = await outcome(open, vendors.tcbInfo);
    expect(got).toMatch(/^ENDORSEMENT_INVALID/);
    expect(got).toMatch(expected);
  });

  test('TCB Info with a changed text: its signature is over the exact bytes', async () => {
    const vendors = await FakeVendors.start();
    const { body, headers } = await vendors.tcbInfoAnswer();
    const text = Buffer.from(body as Uint8Array)
      .toString()
      .replace('"UpToDate"', '"OutOfDate"');
    vendors.service.route(vendors.tcbInfoPath, { body: text, headers: headers! });
    const open = await endorsementsOf(vendors);
    expect(await outcome(open, vendors.tcbInfo)).toMatch(/^ENDORSEMENT_INVALID .*did not sign/);
  });

  test('a chain under a root that is not pinned', async () => {
    const [vendors, others] = [await FakeVendors.start(), await FakeVendors.start()];
    vendors.service.route(vendors.tcbInfoPath, await others.tcbInfoAnswer());
    const open = await endorsementsOf(vendors);
    expect(await outcome(open, vendors.tcbInfo)).toMatch(/^ENDORSEMENT_INVALID .*trust anchor/);
  });

  test('what a vendor does not have is not asked for again for a while', async () => {
    const vendors = await FakeVendors.start();
    vendors.service.route(vendors.vcekPath, { status: 404 });
    const open = await endorsementsOf(vendors);
    for (let i = 0; i < 5; i++) await outcome(open, vendors.vcek);
    expect(vendors.service.requests.length).toBe(1);
    open.clock.advance(10 * 60_000 + 1);
    vendors.service.route(vendors.vcekPath, { body: await vendors.vcekDer() });
    expect(await outcome(open, vendors.vcek)).toBe('held');
  });
});
