import type { Judge } from './judge.js';
import { judgeCcaToken } from './judges/cca-tokens.js';
import { judgeManifests } from './judges/corim/manifests.js';
import { judgeCoseWgExamples } from './judges/cose-wg-examples.js';
import { judgeLaunchDigests } from './judges/launch-digests.js';
import { judgeChains, judgeCrls } from './judges/snp/authorities.js';
import { judgeChainCases, judgeReport, judgeSynthetic } from './judges/snp/reports.js';
import { judgeQuote } from './judges/tdx/quotes.js';
import { judgeRegisters } from './judges/tdx/registers.js';
import { judgeSyntheticQuotes } from './judges/tdx/synthetic.js';
import { judgeAzure } from './judges/tpm/azure.js';
import { judgeEventLogs, judgeQuotesWithLog, judgeTpmQuote } from './judges/tpm/quotes.js';
import { judgeWycheproof } from './judges/wycheproof.js';

/** The judge of each `kind` of `expected.json`. Kinds that are not here are shown as not judged. */
export const judges: ReadonlyMap<string, Judge> = new Map<string, Judge>([
  ['cose-wg-examples', judgeCoseWgExamples],
  ['wycheproof', judgeWycheproof],
  ['amd-sev-snp-report', judgeReport],
  ['amd-snp-chain-cases', judgeChainCases],
  ['amd-snp-synthetic', judgeSynthetic],
  ['amd-ca-chains', judgeChains],
  ['amd-crls', judgeCrls],
  ['sev-launch-digests', judgeLaunchDigests],
  ['intel-tdx-quote', judgeQuote],
  ['intel-tdx-synthetic', judgeSyntheticQuotes],
  ['tdx-rtmr-replay', judgeRegisters],
  ['azure-hcl-report+tpm-quote', judgeAzure],
  ['tpm-quotes+event-log', judgeQuotesWithLog],
  ['tpm-quote', judgeTpmQuote],
  ['tcg-event-logs', judgeEventLogs],
  ['arm-cca-token', judgeCcaToken],
  ['corim-comid-cbor', judgeManifests],
]);
