import type { Endorsements } from '#core/rats/endorsements.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyTdxQuote } from '#core/tdx/verify.js';
import { crypto } from '#crypto';
import { FakeIntel, now, type QuoteContent, qeIdentity, tcbInfo } from '../../fakes/intel.js';

// A genuine quote of self-made Intel hardware, its collateral, and the same with changes.

export const intel = await FakeIntel.create();
export const other = await crypto.generateEcKey('P-256');
export const good = await intel.quote();
export const endorsements = await intel.endorsements();

export const verify = async (
  quote: Uint8Array | QuoteContent = good,
  given: Endorsements | Promise<Endorsements> = endorsements,
  at = now,
) => {
  const bytes = quote instanceof Uint8Array ? quote : await intel.quote(quote);
  return verifyTdxQuote(parseTdxQuote(bytes), await given, [intel.anchor], at);
};

export const withTcbInfo = async (change: Record<string, unknown>) =>
  intel.endorsements({ tcbInfo: await intel.signed('tcbInfo', tcbInfo(change)) });
export const withQeIdentity = async (change: Record<string, unknown>) =>
  intel.endorsements({
    qeIdentity: await intel.signed('enclaveIdentity', qeIdentity(change)),
  });
