import { command } from '../command.js';
import { meanings } from '../evidence/show/meanings.js';
import { showFile } from '../evidence/show/show.js';
import { treeText } from '../evidence/tree.js';
import type { Json } from '../terminal/output.js';
import { readTypedInput } from '../terminal/typed.js';

export const evidenceShow = command({
  name: 'evidence show',
  summary: 'Every field of a piece of evidence, with what it means; nothing is verified.',
  examples: [
    'cvmp evidence show report.bin',
    'cvmp evidence show quote.bin',
    'cvmp evidence show web.evidence --json',
  ],
  positionals: ['FILE'],
  options: {},
  notes:
    'FILE, or - for standard input, is told by its content: an SEV-SNP attestation report, a TD\n' +
    'Quote (v4, v5), a TPM quote, its signature, key or PCR values (JSON), an HCL report of Azure, an\n' +
    'Arm CCA token, an event log (TCG, CCEL, JSON), what cvmp cvm verify --out kept (CMW), a manifest\n' +
    'of reference values (CoRIM), an Attestation Result (EAR), certificates, revocation lists and\n' +
    'collateral of Intel.',
  async run({ positionals: [file] }, context) {
    const bytes = await readTypedInput(context, file!);
    const { kind, parts } = showFile({ name: file!, bytes });
    const lines = parts.map(({ title, tree }) => treeText({ [title]: tree }, '', meanings));
    return {
      json: shownJson(kind, parts),
      text: [...lines, 'Nothing of this is verified: cvmp evidence verify.'].join('\n\n'),
    };
  },
});

/** The report or the manifest under the name that it always had, everything else in its parts. */
function shownJson(kind: string, parts: ReturnType<typeof showFile>['parts']): Json {
  const trees = parts.map(({ title, tree }) => ({ title, ...tree }));
  const [first, ...rest] = parts.map(({ tree }) => tree);
  if (kind === 'corim' && first !== undefined) return { kind, corim: first };
  if (kind === 'ear' && first !== undefined) return { kind, ear: first };
  if (first !== undefined && 'MEASUREMENT' in first) {
    return { kind: 'snp', report: first, certificates: rest };
  }
  return { kind, parts: trees };
}
