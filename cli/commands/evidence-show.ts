import { command } from '../command.js';
import { isEarFile, showEar } from '../ear/ear-text.js';
import { looksLikeCorim, showCorim } from '../evidence/corim-text.js';
import { certificateTree, readEvidence, reportTree, treeText } from '../evidence/evidence-text.js';
import { readTypedBytes } from '../terminal/typed.js';

export const evidenceShow = command({
  name: 'evidence show',
  summary: 'Every field of a piece of evidence or of a CoRIM; nothing is verified.',
  examples: ['cvmp evidence show report.bin', 'cvmp evidence show web.evidence --json'],
  positionals: ['FILE'],
  options: {},
  notes:
    'FILE is an SEV-SNP attestation report, what cvmp cvm verify --out kept, or a manifest of\n' +
    'reference values (CoRIM), signed or not.',
  async run({ positionals: [file] }, context) {
    const bytes = await readTypedBytes(context, file!);
    if (looksLikeCorim(bytes)) {
      const corim = showCorim(bytes);
      return { json: { kind: 'corim', corim }, text: treeText(corim) };
    }
    if (isEarFile(bytes)) {
      const ear = showEar(bytes);
      return { json: { kind: 'ear', ear }, text: treeText(ear) };
    }
    const evidence = readEvidence(bytes);
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
