import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { noEndorsements } from '#core/rats/endorsements.js';
import { tdxNeeds } from '#core/tdx/endorsement/needs.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyTdxQuote } from '#core/tdx/verify.js';
import { nameOf } from '#server/key-server/endorsements/statements.js';
import { obtainAll } from '#server/key-server/verifier/source.js';
import { FakeClock } from '../../../fakes/clock.js';
import {
  endorsementsOf,
  FakeVendors,
  intelStatements,
  type KeeperChange,
  outcome,
  startTime,
  vcekOfAnother,
} from './vendors.js';

const hour = 3600 * 1000;
const day = 24 * hour;

describe('statements are got from their vendor as it publishes them (AMD 57230, Intel PCS v4)', () => {
  test.each(['Genoa', 'Turin'] as const)(
    'AMD KDS: VCEK, chain and list of a %s',
    async (product) => {
      const vendors = await FakeVendors.start(product);
      const open = await endorsementsOf(vendors);
      const got = await open.keeper.obtain(vendors.vcek);
      expect(got).toEqual({
        outcome: 'held',
        endorsements: { certificates: [await vendors.vcekDer()], crls: [] },
      });
      expect(await outcome(open, vendors.crl)).toBe('held');
      expect(vendors.service.requests).toEqual([
        vendors.vcekPath,
        vendors.chainPath,
        vendors.crlPath,
      ]);
    },
  );

  test('Intel PCS: TCB Info, QE Identity, both lists, with the chains of their signers', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    for (const statement of intelStatements(vendors)) {
      expect(await outcome(open, statement)).toBe('held');
    }
    expect(vendors.service.requests).toEqual([
      vendors.tcbInfoPath,
      vendors.qeIdentityPath,
      vendors.pckCrlPath,
      vendors.rootCrlPath,
    ]);
  });

  test('with them a bare TDX quote verifies', async () => {
    const vendors = await FakeVendors.start();
    const { keeper } = await endorsementsOf(vendors);
    const { anchor } = vendors.intel;
    const quote = parseTdxQuote(await vendors.intel.quote());
    const needs = await tdxNeeds(quote, noEndorsements, [anchor], startTime);
    const got = await obtainAll(keeper, needs, 'required', noEndorsements);
    const claims = await verifyTdxQuote(quote, got, [anchor], startTime);
    expect(claims.tcb.status).toBe('UpToDate');
  });

  test('a PCCS gives revocation lists as hex digits, and the older name of the header', async () => {
    const vendors = await FakeVendors.start();
    const { body } = await vendors.tcbInfoAnswer();
    vendors.service.route(vendors.tcbInfoPath, {
      body: body!,
      headers: { 'SGX-TCB-Info-Issuer-Chain': await vendors.signerChain() },
    });
    const list = await vendors.intel.crl('root');
    vendors.service.route(vendors.rootCrlPath, { body: Buffer.from(list).toString('hex') });
    const open = await endorsementsOf(vendors);
    expect(await outcome(open, vendors.tcbInfo)).toBe('held');
    const got = await open.keeper.obtain({ kind: 'intel-root-crl' });
    expect(got).toMatchObject({ endorsements: { crls: [list] } });
  });

  test.each([
    ['early', { tcb_update: 'early' }, 'update=early'],
    ['a number', { tcb_evaluation_data_number: 17 }, 'tcbEvaluationDataNumber=17'],
  ])('which edition of TCB Info is asked for is configured: %s', async (_what, fetch, query) => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors, { fetch });
    await outcome(open, vendors.tcbInfo);
    expect(vendors.service.requests[0]).toContain(`&${query}`);
  });
});

describe('one request for each statement, whoever asks (single-flight)', () => {
  test('many at once make one request for VCEK and chain each', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    const all = await Promise.all(Array.from({ length: 20 }, () => outcome(open, vendors.vcek)));
    expect(new Set(all)).toEqual(new Set(['held']));
    expect(vendors.service.requests).toEqual([vendors.vcekPath, vendors.chainPath]);
  });

  test('what is held is not asked for again, not after a restart either', async () => {
    const vendors = await FakeVendors.start();
    const first = await endorsementsOf(vendors);
    for (const statement of [vendors.vcek, vendors.crl, ...intelStatements(vendors)]) {
      expect(await outcome(first, statement)).toBe('held');
    }
    const { length } = vendors.service.requests;
    const again = await endorsementsOf(vendors, { folder: first.path });
    for (const statement of [vendors.vcek, vendors.crl, ...intelStatements(vendors)]) {
      expect(await outcome(first, statement)).toBe('held');
      expect(await outcome(again, statement)).toBe('held');
    }
    expect(vendors.service.requests.length).toBe(length);
  });
});

describe('a slow vendor does not hold up sessions', () => {
  test('evidence waits as long as configured; the request goes on for the next one', async () => {
    const vendors = await FakeVendors.start();
    vendors.service.route(vendors.vcekPath, { silent: true });
    const open = await endorsementsOf(vendors, { fetch: { wait_ms: 2000 } });
    const got = outcome(open, vendors.vcek);
    await vendors.service.arrived(1);
    open.clock.advance(2000);
    expect(await got).toMatch(/^ENDORSEMENT_UNAVAILABLE .*did not come in time/);
    const next = outcome(open, vendors.vcek);
    await open.clock.timer(2000, 2000);
    open.clock.advance(2000);
    expect(await next).toMatch(/did not come in time/);
    expect(vendors.service.requests.length).toBe(1);
  });

  test('a request that takes longer than its own limit is given up', async () => {
    const vendors = await FakeVendors.start();
    vendors.service.route(vendors.vcekPath, { silent: true });
    const fetch = { wait_ms: 60_000, request_timeout_ms: 3000 };
    const open = await endorsementsOf(vendors, { fetch });
    const got = outcome(open, vendors.vcek);
    await vendors.service.arrived(1);
    open.clock.advance(3000);
    expect(await got).toMatch(/^ENDORSEMENT_UNAVAILABLE .*did not answer in time/);
  });
});

describe('the folder is untrusted input (cache)', () => {
  const tampered = async (change: KeeperChange, spoil: (path: string) => void | Promise<void>) => {
    const vendors = await FakeVendors.start();
    const first = await endorsementsOf(vendors);
    await outcome(first, vendors.vcek);
    await spoil(join(first.path, nameOf(vendors.vcek)));
    vendors.service.requests.length = 0;
    const open = await endorsementsOf(vendors, { ...change, folder: first.path });
    return { vendors, first, open };
  };
  const flip = (path: string) => {
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
  };

  test('a changed file is refused, got anew and replaced, also in a server that runs', async () => {
    const { vendors, first, open } = await tampered({}, flip);
    for (const one of [first, open]) expect(await outcome(one, vendors.vcek)).toBe('held');
    expect(vendors.service.requests).toEqual([vendors.vcekPath]);
    const name = nameOf(vendors.vcek);
    expect(new Uint8Array(readFileSync(join(open.path, name)))).toEqual(await vendors.vcekDer());
  });

  test.each([
    ['changed', flip],
    ['of another chip', async (path: string) => writeFileSync(path, await vcekOfAnother())],
    ['empty', (path: string) => writeFileSync(path, '')],
    ['huge', (path: string) => writeFileSync(path, new Uint8Array(2 * 1024 * 1024))],
  ])('offline, a file that is %s is refused', async (_what, spoil) => {
    const { vendors, open } = await tampered({ mode: 'offline' }, spoil);
    expect(await outcome(open, vendors.vcek)).toMatch(/^ENDORSEMENT_INVALID/);
  });

  test('a list that ends sooner than the one that is held does not replace it', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    const current = vendors.crlDer();
    vendors.service.route(vendors.crlPath, { body: current });
    expect(await outcome(open, vendors.crl)).toBe('held');
    vendors.service.route(vendors.crlPath, { body: vendors.crlDer(startTime - 5 * day) });
    await expect(open.keeper.fetched(vendors.crl)).rejects.toThrow(/older than the one/);
    const got = await open.keeper.obtain(vendors.crl);
    expect(got).toMatchObject({ endorsements: { crls: [current] } });
  });
});

describe('what is out of date is not used (protocol.md s.6.5: fail closed)', () => {
  test('a list is renewed in the background before it ends, at once where it has ended', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    await outcome(open, vendors.crl);
    const { length } = vendors.service.requests;
    open.clock.advance(23 * hour);
    await outcome(open, vendors.crl);
    expect(vendors.service.requests.length).toBe(length);
    open.clock.advance(2 * hour);
    const newer = vendors.crlDer(startTime + day);
    vendors.service.route(vendors.crlPath, { body: newer });
    // The old one is still good; the new one is under way.
    expect(await outcome(open, vendors.crl)).toBe('held');
    await open.keeper.fetched(vendors.crl);
    expect(vendors.service.requests.length).toBe(length + 1);
    expect(await open.keeper.obtain(vendors.crl)).toMatchObject({
      endorsements: { crls: [newer] },
    });
  });

  test('what is in the folder is renewed without anybody asking', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    for (const statement of [vendors.vcek, vendors.crl, ...intelStatements(vendors)]) {
      await outcome(open, statement);
    }
    vendors.service.requests.length = 0;
    open.clock.advance(25 * hour);
    await open.keeper.refresh();
    expect([...vendors.service.requests].sort()).toEqual(
      [
        vendors.crlPath,
        vendors.pckCrlPath,
        vendors.qeIdentityPath,
        vendors.rootCrlPath,
        vendors.tcbInfoPath,
      ].sort(),
    );
  });

  test('with its vendor away, a list is used to its end and not beyond', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    await outcome(open, vendors.crl);
    vendors.service.route(vendors.crlPath, { status: 503 });
    open.clock.advance(28 * day);
    expect(await outcome(open, vendors.crl)).toBe('held');
    open.clock.advance(2 * day);
    expect(await outcome(open, vendors.crl)).toMatch(/^COLLATERAL_STALE .*ended at 2026-06-30/);
  });

  test('nor beyond the age that is configured, whatever its vendor says', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors, { settings: { age_days_max: 10 } });
    await outcome(open, vendors.tcbInfo);
    vendors.service.route(vendors.tcbInfoPath, { status: 503 });
    open.clock.advance(10 * day);
    expect(await outcome(open, vendors.tcbInfo)).toBe('held');
    open.clock.advance(1);
    expect(await outcome(open, vendors.tcbInfo)).toMatch(/^COLLATERAL_STALE .*too long ago/);
  });

  test('certificates do not age', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    await outcome(open, vendors.vcek);
    open.clock.advance(400 * day);
    const { length } = vendors.service.requests;
    expect(await outcome(open, vendors.vcek)).toBe('held');
    expect(vendors.service.requests.length).toBe(length);
  });

  test('where the clock of this machine is behind, nothing is used before it starts', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    await outcome(open, vendors.crl);
    const clock = new FakeClock(startTime - 10 * day);
    const behind = await endorsementsOf(vendors, { mode: 'offline', folder: open.path, clock });
    expect(await outcome(behind, vendors.crl)).toMatch(/^COLLATERAL_STALE/);
  });
});

describe('offline, the default (air-gapped)', () => {
  test('no connection is made, whatever is missing, stale or damaged', async () => {
    const vendors = await FakeVendors.start();
    const filled = await endorsementsOf(vendors);
    await outcome(filled, vendors.crl);
    vendors.service.requests.length = 0;
    const open = await endorsementsOf(vendors, { mode: 'offline', folder: filled.path });
    expect(await outcome(open, vendors.crl)).toBe('held');
    expect(await outcome(open, vendors.vcek)).toBe('absent');
    open.clock.advance(29 * day);
    expect(await outcome(open, vendors.crl)).toMatch(/^held/);
    open.clock.advance(2 * day);
    expect(await outcome(open, vendors.crl)).toMatch(/^COLLATERAL_STALE/);
    await open.keeper.refresh();
    expect(vendors.service.requests).toEqual([]);
  });

  test('a file that is put there is used at once', async () => {
    const vendors = await FakeVendors.start();
    const filled = await endorsementsOf(vendors);
    const open = await endorsementsOf(vendors, { mode: 'offline', folder: filled.path });
    expect(await outcome(open, vendors.vcek)).toBe('absent');
    await outcome(filled, vendors.vcek);
    expect(await outcome(open, vendors.vcek)).toBe('held');
  });
});
