import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { noEndorsements } from '#core/rats/endorsements.js';
import { snpNeeds } from '#core/snp/endorsement/needs.js';
import { parseReport } from '#core/snp/parse.js';
import { verifyReport } from '#core/snp/verify.js';
import { tdxNeeds } from '#core/tdx/endorsement/needs.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { verifyTdxQuote } from '#core/tdx/verify.js';
import { readConfig } from '#server/host/config/reader.js';
import { createLog } from '#server/host/log.js';
import { namedDocuments } from '#server/key-server/endorsements/named.js';
import { openEndorsements } from '#server/key-server/endorsements/open.js';
import { readEndorsementSettings } from '#server/key-server/endorsements/settings.js';
import { trustAnchors } from '#server/key-server/verifier/anchors.js';
import { obtainAll } from '#server/key-server/verifier/source.js';
import { FakeClock } from '../../../fakes/clock.js';
import { temporaryFolder } from '../../../run-folder.js';
import { sharedVectors } from '../../../vectors.js';

const vectors = sharedVectors() ?? '';
const anchors = trustAnchors({ roots: [], tpmMakers: [] });
/** Inside of the Milan list and of every recorded VCEK. */
const snpTime = Date.UTC(2026, 3, 1);

/** An offline folder with these files imported, under the vendors' real roots. */
async function imported(at: number, files: readonly string[]) {
  const text = JSON.stringify({ folder: temporaryFolder('recorded') });
  const settings = readConfig(text, '/x.yaml', readEndorsementSettings).value;
  const log = createLog('test', 'silent');
  const clock = new FakeClock(at);
  const open = openEndorsements(settings, { anchors, clock, random: () => 0, log }, false);
  onTestFinished(() => open.close());
  const read = files.map((name) => ({ name, bytes: new Uint8Array(readFileSync(name)) }));
  for (const { statement, document } of namedDocuments(read, [])) {
    await open.keeper.keep(statement, document);
  }
  return open.keeper;
}

describe.skipIf(vectors === '')('recorded evidence, offline (needs ../shared/vectors)', () => {
  const cases = vectors === '' ? [] : readdirSync(join(vectors, 'snp'));
  test.each(cases.filter((name) => /^(genoa|siena|turin|milan)-v[345]-vcek/.test(name)))(
    'snp/%s: the imported VCEK, chain and list are what the report needs',
    async (name) => {
      const product = name.startsWith('siena') ? 'genoa' : (name.split('-')[0] ?? '');
      const folder = join(vectors, 'snp', name);
      // The other recorded list ended before some of the certificates began.
      const lists = product === 'milan' ? [join(vectors, 'snp/crl/milan.crl')] : [];
      const keeper = await imported(snpTime, [
        join(vectors, 'snp/chains', product, 'vcek_cert_chain.pem'),
        ...['vcek.der', 'vcek.pem'].map((file) => join(folder, file)).filter(existsSync),
        ...lists,
      ]);
      const report = parseReport(new Uint8Array(readFileSync(join(folder, 'report.bin'))));
      const needs = snpNeeds(report, noEndorsements);
      expect(needs.length).toBe(3);
      const revocation = lists.length > 0 ? 'required' : 'when_held';
      const got = await obtainAll(keeper, needs, revocation, noEndorsements);
      expect([got.certificates.length, got.crls.length]).toEqual([3, lists.length]);
      const claims = await verifyReport(report, got, anchors, snpTime);
      expect(claims.simulated).toBe(false);
    },
  );

  test('tdx/v4-dstack: the imported collateral is what the quote needs', async () => {
    const folder = join(vectors, 'tdx/v4-dstack');
    const at = Date.UTC(2025, 5, 20);
    const collateral = ['qe_identity.json', 'root_ca_crl.der', 'tcb_info.json'];
    const keeper = await imported(at, [
      ...['pck_crl.der', 'tcb_signing_chain.pem', ...collateral].map((f) =>
        join(folder, 'collateral', f),
      ),
      join(folder, 'pck_chain.pem'),
    ]);
    const quote = parseTdxQuote(new Uint8Array(readFileSync(join(folder, 'quote.bin'))));
    const needs = await tdxNeeds(quote, noEndorsements, anchors, at);
    const got = await obtainAll(keeper, needs, 'required', noEndorsements);
    expect((await verifyTdxQuote(quote, got, anchors, at)).tcb.status).toBe('UpToDate');
  });
});
