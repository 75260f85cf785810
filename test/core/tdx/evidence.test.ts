import { beforeAll, describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { decodeCmw, encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import type { AnyScheme } from '#core/rats/scheme.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { tdxScheme } from '#core/tdx/scheme.js';
import { crypto } from '#crypto';
import { FakeIntel, now } from '../../fakes/intel.js';
import { refusalOf } from '../../refusal.js';

const configDocument = utf8('config document');
const reportData = crypto.hash('sha512', utf8('binding'));
let intel: FakeIntel;
let quote: Uint8Array;
beforeAll(async () => {
  intel = await FakeIntel.create();
  const mrConfigId = crypto.hash('sha384', configDocument);
  quote = await intel.quote({ td: { mrConfigId, reportData } });
});

const schemes: readonly AnyScheme[] = [tdxScheme];

describe('TDX evidence in a CMW collection', () => {
  it('with collateral from the agent verifies up to the config document', async () => {
    const collection = encodeCmw(tdxCollection(quote, await intel.endorsements()));
    const request = { collection, configDocument, reportData };
    const inputs = { schemes, endorsements: noEndorsements, anchors: [intel.anchor], at: now };
    const verified = await verifyEvidence(request, inputs);
    expect(verified.claims.format).toBe('tdx');
    const other = { ...request, configDocument: utf8('another') };
    expect(await refusalOf(verifyEvidence(other, inputs))).toBe('CONFIG_MISMATCH');
    const replayed = { ...request, reportData: new Uint8Array(64) };
    expect(await refusalOf(verifyEvidence(replayed, inputs))).toBe('BINDING_MISMATCH');
  });

  it('with collateral of the verifier verifies as well', async () => {
    const evidence = tdxScheme.parse(tdxCollection(quote));
    const claims = await tdxScheme.verify(
      evidence,
      await intel.endorsements(),
      [intel.anchor],
      now,
    );
    expect(claims.tcb.status).toBe('UpToDate');
  });

  it('a collection comes back as it was', async () => {
    const collection = tdxCollection(quote, await intel.endorsements());
    expect(decodeCmw(encodeCmw(collection))).toEqual(collection);
  });

  it('a label or type that has no place there is refused', async () => {
    const base = tdxCollection(quote);
    const record = base.get('tdx')!;
    const foreign = new Map([...base, ['snp', record] as const]);
    expect(await refusalOf(() => tdxScheme.parse(foreign))).toBe('UNSUPPORTED_EVIDENCE');
    const mistyped = new Map([['tdx', { ...record, mediaType: 'text/plain' }]]);
    expect(await refusalOf(() => tdxScheme.parse(mistyped))).toBe('UNSUPPORTED_EVIDENCE');
  });
});
