// Writes docs/errors.md from the table in core/errors.ts.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, errorTable } from '#core/errors.js';

const root = new URL('../../', import.meta.url);

/**
 * The text of docs/errors.md.
 * @param source text of core/errors.ts; its `// ---` comments are the sections
 */
export function errorsDoc(source: string): string {
  const lines = [
    '# Errors',
    '',
    '<!-- Written by `npm run docs` from core/errors.ts; do not edit. -->',
    '',
    'Every error has one of these codes. Codes are stable; messages may change. On gRPC the code',
    'travels in an `ErrorDetail` (`proto/cvmp/v1/error.proto`) beside the status named here. A peer',
    'that is not authenticated or attested learns the code and its meaning, nothing else.',
  ];
  for (const match of source.matchAll(/^ {2}\/\/ --- (.+)$|^ {2}([A-Z0-9_]+): row\(/gm)) {
    const [, section, code] = match;
    if (section !== undefined) {
      lines.push('', `## ${section}`, '');
      lines.push('| code | gRPC status | meaning | what to do |', '| --- | --- | --- | --- |');
      continue;
    }
    const { rpc, meaning, next } = errorTable[code as ErrorCode];
    lines.push(`| \`${code}\` | ${rpc} | ${meaning} | ${next} |`);
  }
  return `${lines.join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = errorsDoc(readFileSync(new URL('core/errors.ts', root), 'utf8'));
  writeFileSync(new URL('docs/errors.md', root), text);
}
