import type { SnpLevel, SnpRules } from './rules.js';

/** What a careful tenant should know of rules for SNP evidence, in sentences. */
export function snpWarnings(rules: SnpRules, levels: readonly SnpLevel[]): readonly string[] {
  const warnings: string[] = [];
  const asksIdentity =
    levels.some(({ guestSvnMin }) => guestSvnMin > 0) ||
    rules.idBlocks.length > 0 ||
    rules.familyId !== undefined ||
    rules.imageId !== undefined;
  // The firmware takes any ID block that its own key signed.
  if (asksIdentity && rules.idKeyDigests.length === 0) {
    warnings.push(
      'The policy asks for what an ID block says, of whoever signed it: name the signers in ' +
        'id_key_digests, or a host can sign its own.',
    );
  }
  if (rules.products.includes('Milan') && rules.chipAllow.length === 0) {
    warnings.push(
      'The policy admits any Milan: what their keys are derived from has been extracted from such ' +
        'chips. Name your own in chip_allow.',
    );
  }
  if (rules.allowNoAliasCheck) {
    warnings.push(
      'The policy admits platforms that have not checked their memory for aliases (BadRAM).',
    );
  }
  if (rules.chipDeny.length > 0 && rules.cspIds.length > 0) {
    warnings.push(
      'The policy refuses chips by id, and so every report under a VLEK, which hides it.',
    );
  }
  return warnings;
}
