import { describe, expect, test } from 'vitest';
import type { EndorsementSource, Revocation } from '#server/key-server/verifier/source.js';
import { FakeClock } from '../../../fakes/clock.js';
import { type EvidenceChange, refusedWith } from '../../../fakes/raw-agent.js';
import { startKeyServer, type TestKeyServer } from '../harness.js';
import { endorsementsOf, FakeVendors, type KeeperChange } from './vendors.js';

const day = 24 * 3600 * 1000;

interface Scene {
  readonly s: TestKeyServer;
  readonly vendors: FakeVendors;
  readonly clock: FakeClock;
  readonly folder: string;
  attest(change?: EvidenceChange): Promise<string>;
}

/** A Key Server whose vendors are the fakes, and a guest that its policy admits. */
async function scene(revocation: Revocation, change: KeeperChange = {}): Promise<Scene> {
  let source: EndorsementSource | undefined;
  const late: EndorsementSource = { obtain: (statement) => source!.obtain(statement) };
  const s = await startKeyServer({}, { source: late, revocation });
  const vendors = await FakeVendors.start('Genoa', s.processor.chip);
  vendors.service.route(vendors.crlPath, { body: vendors.crlDer(s.place.now - day) });
  const clock = new FakeClock(s.place.now);
  const open = await endorsementsOf(vendors, { ...change, clock });
  source = open.keeper;
  await s.setPolicy();
  const launched = await s.launch();
  const attest = async (evidence?: EvidenceChange) => {
    const agent = await s.agent(launched);
    return refusedWith(agent.attest(evidence));
  };
  return { s, vendors, clock, folder: open.path, attest };
}

const bare: EvidenceChange = { certTable: new Uint8Array() };

describe('endorsements of a session (RFC 9334 s.8.2; protocol.md s.2.2)', () => {
  test('a host that gives no certificates along: they are got, once', async () => {
    const { vendors, attest } = await scene('required');
    expect(await attest(bare)).toBe('accepted');
    expect([...vendors.service.requests].sort()).toEqual(
      [vendors.vcekPath, vendors.chainPath, vendors.crlPath].sort(),
    );
    expect(await attest(bare)).toBe('accepted');
    expect(vendors.service.requests.length).toBe(3);
  });

  test('certificates that come along are preferred: only the list is asked for', async () => {
    const { vendors, attest } = await scene('required');
    expect(await attest()).toBe('accepted');
    // The list is verified by the chain, which is fetched for that.
    expect(vendors.service.requests).not.toContain(vendors.vcekPath);
  });

  test('a host that gives the certificate of the TCB before its update along', async () => {
    const { s, vendors, attest } = await scene('required');
    const older = { ...vendors.tcb, snp: vendors.tcb.snp - 1 };
    const { certTable } = await s.processor.chip.vcek(older);
    expect(await attest({ certTable })).toBe('accepted');
    expect(vendors.service.requests).toContain(vendors.vcekPath);
  });

  test('a revoked ASK is refused, whatever came along', async () => {
    const { s, vendors, attest } = await scene('required');
    const body = vendors.crlDer(s.place.now - day, ['ask']);
    vendors.service.route(vendors.crlPath, { body });
    expect(await attest()).toBe('CERT_REVOKED');
  });

  test.each([
    ['required', 'ENDORSEMENT_UNAVAILABLE'],
    ['when_held', 'accepted'],
  ] as const)('without a list to be had, revocation %s: %s', async (revocation, expected) => {
    const { vendors, attest } = await scene(revocation);
    vendors.service.route(vendors.crlPath, { status: 503 });
    expect(await attest()).toBe(expected);
  });

  test('a list that went out of date is not as if there had been none', async () => {
    const { s, vendors, clock, attest } = await scene('when_held');
    expect(await attest()).toBe('accepted');
    vendors.service.route(vendors.crlPath, { status: 503 });
    clock.advance(31 * day);
    s.place.now += 31 * day;
    expect(await attest()).toBe('COLLATERAL_STALE');
  });

  test('the KDS is away: no VCEK, no session, and a code that says to try again', async () => {
    const { vendors, attest } = await scene('required');
    vendors.service.route(vendors.vcekPath, { status: 503 });
    expect(await attest(bare)).toBe('ENDORSEMENT_UNAVAILABLE');
  });

  test('offline: what the folder has is used, nothing is asked for, required means it', async () => {
    const filled = await scene('required');
    expect(await filled.attest(bare)).toBe('accepted');
    const offline = await scene('required', { mode: 'offline', folder: filled.folder });
    // Chain and list are of the product, the VCEK is of the other chip.
    expect(await offline.attest()).toBe('accepted');
    expect(await offline.attest(bare)).toBe('CHAIN_INVALID');
    expect(offline.vendors.service.requests).toEqual([]);
    const empty = await scene('required', { mode: 'offline' });
    expect(await empty.attest()).toBe('COLLATERAL_STALE');
  });

  test('evidence that is none asks nobody', async () => {
    const { vendors, s } = await scene('required');
    const agent = await s.agent(await s.launch());
    await agent.challenge();
    agent.send('evidence', agent.session.evidence(Uint8Array.of(0xa0), 'x'));
    await refusedWith(agent.frame('accept'));
    expect(vendors.service.requests).toEqual([]);
  });
});
