import { azureSnpScheme, azureTdxScheme } from './azure/scheme.js';
import { ccaScheme } from './cca/scheme.js';
import { earScheme } from './ear/scheme.js';
import type { AnyScheme } from './rats/scheme.js';
import { snpScheme } from './snp/scheme.js';
import { svsmScheme } from './svsm/scheme.js';
import { tdxScheme } from './tdx/scheme.js';
import { tpmScheme } from './tpm/scheme.js';

/** The one list of evidence formats. */
export const schemes: readonly AnyScheme[] = [
  snpScheme,
  svsmScheme,
  tdxScheme,
  tpmScheme,
  azureSnpScheme,
  azureTdxScheme,
  ccaScheme,
  earScheme,
];
