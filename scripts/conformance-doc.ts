// Writes docs/conformance.md from the table in test/conformance.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Conformance } from '../test/conformance/row.js';
import { conformance } from '../test/conformance/table.js';

const root = new URL('../../', import.meta.url);

/** The text of docs/conformance.md. */
export function conformanceDoc(formats: readonly Conformance[]): string {
  const lines = [
    '# Conformance',
    '',
    '<!-- Written by `npm run docs` from test/conformance/; do not edit. -->',
    '',
    'What the formats and this protocol say must be so, in our words, each with the test that shows it:',
    'its title, or the label of its row in a table of cases (`%s` stands for that label). A row whose',
    'test is renamed or gone fails, and so does a code of the evidence that no row ends in.',
  ];
  for (const { title, of, tests } of formats) {
    lines.push('', `## ${title}`, '', `Sections are of ${of}.`, '');
    lines.push('| section | what must be so | otherwise | test |', '| --- | --- | --- | --- |');
    for (const [file, rows] of Object.entries(tests)) {
      for (const [section, must, test, ...codes] of rows) {
        const ends = codes.map((code) => `\`${code}\``).join(', ');
        lines.push(`| ${section} | ${must} | ${ends} | \`${file}\`: ${test} |`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('docs/conformance.md', root), conformanceDoc(conformance));
}
