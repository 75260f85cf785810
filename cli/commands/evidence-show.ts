import { command } from '../command.js';
import { certificateTree, readEvidence, reportTree, treeText } from '../evidence/evidence-text.js';
import { readTypedBytes } from '../terminal/typed.js';

export const evidenceShow = command({
  name: 'evidence show',
  summary: 'Every field of a piece of evidence; nothing is verified.',
  examples: ['cvmp evidence show report.bin', 'cvmp evidence show web.evidence --json'],
  positionals: ['FILE'],
  options: {},
  notes: 'FILE is an SEV-SNP attestation report, or what cvmp cvm verify --out kept.',
  async run({ positionals: [file] }, context) {
    const evidence = readEvidence(await readTypedBytes(context, file!));
    const report = reportTree(evidence.report);
    const certificates = evidence.endorsements.certificates.map(certificateTree);
    return {
      json: { kind: 'snp', report, certificates },
      text: [
        treeText({ 'attestation report (SEV-SNP ABI)': report }),
        ...certificates.map((tree) => treeText({ certificate: tree })),
        'Nothing of this is verified: cvmp evidence verify.',
      ].join('\n\n'),
    };
  },
});
