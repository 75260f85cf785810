/**
 * What evidence of a kind costs to verify, in signature checks: of the evidence, its certificates,
 * collateral and revocation lists. An address has only so many in a minute.
 */
const evidenceCost: Readonly<Record<string, number>> = {
  // Report, VCEK or VLEK, ASK, ARK; revocation list.
  snp: 5,
  svsm: 7,
  // Quote, QE report, PCK chain, TCB Info and QE Identity with their chain, two revocation lists.
  tdx: 10,
  // Quote, AK and its chain, credential activation.
  tpm: 4,
  'azure-snp': 6,
  'azure-tdx': 11,
  cca: 5,
  ear: 1,
};

/** Of what cannot even be parsed. */
const leastCost = 1;

/** @param format label of the evidence; undefined: it was not parsed */
export function costOf(format: string | undefined): number {
  return (format && evidenceCost[format]) || leastCost;
}
