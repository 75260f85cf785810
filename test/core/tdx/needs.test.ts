import { beforeAll, describe, expect, test } from 'vitest';
import { encodeCmw } from '#core/rats/cmw.js';
import { type Endorsements, noEndorsements } from '#core/rats/endorsements.js';
import { endorsementNeeds, openEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { FakeIntel, fmspc, now, tcbInfo } from '../../fakes/intel.js';

let intel: FakeIntel;
let quote: Uint8Array;
beforeAll(async () => {
  intel = await FakeIntel.create();
  quote = await intel.quote();
});

const needsOf = (
  bytes: Uint8Array,
  endorsements: Endorsements = noEndorsements,
  anchors = [intel.anchor],
) => {
  const opened = openEvidence(encodeCmw(tdxCollection(bytes)), schemes);
  return endorsementNeeds(opened, { anchors, endorsements, at: now });
};

describe('what Intel publishes for a quote (protocol.md s.3.2)', () => {
  test('TCB Info of its FMSPC, QE Identity, both lists; the list of its own CA', async () => {
    expect(await needsOf(quote)).toEqual([
      { statement: { kind: 'intel-tcb-info', fmspc }, isCarried: false },
      { statement: { kind: 'intel-qe-identity' }, isCarried: false },
      { statement: { kind: 'intel-pck-crl', ca: 'platform' }, isCarried: false },
      { statement: { kind: 'intel-root-crl' }, isCarried: false },
    ]);
  });

  test('what the Verifier has counts; TCB Info of another family does not', async () => {
    const all = await intel.endorsements();
    expect((await needsOf(quote, all)).every(({ isCarried }) => isCarried)).toBe(true);
    const change = tcbInfo({ fmspc: '112233445566' });
    const other = await intel.endorsements({ tcbInfo: await intel.signed('tcbInfo', change) });
    const carried = (await needsOf(quote, other)).map(({ isCarried }) => isCarried);
    expect(carried).toEqual([false, true, true, true]);
  });

  test('a platform that Intel did not make has nothing asked for', async () => {
    const stranger = await FakeIntel.create();
    expect(await needsOf(await stranger.quote())).toEqual([]);
    const signedBy = stranger.keys.ca;
    const chain = [await intel.certificate('pck', { signedBy }), ...(await intel.chain()).slice(1)];
    expect(await needsOf(await intel.quote({ chain }))).toEqual([]);
  });
});
